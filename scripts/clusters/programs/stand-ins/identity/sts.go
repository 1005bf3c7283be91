package main

import (
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

// How far a signature's time may be from now.
const tolerance = 15 * time.Minute

// sts is a proxy that ends every tunnel itself, as if it were the host that the tunnel is to.
func sts(at place, read load) error {
	certificate, err := tls.LoadX509KeyPair(at.Certificate, at.Key)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", at.Address)
	if err != nil {
		return err
	}
	ends := tunnels{make(chan net.Conn), listener.Addr()}
	inside := tls.NewListener(ends, &tls.Config{Certificates: []tls.Certificate{certificate}})
	go func() { log.Fatal(serverOf(identify(read)).Serve(inside)) }()
	return serverOf(ends.open).Serve(listener)
}

// The tunnels that clients opened, for a server to accept.
type tunnels struct {
	opened  chan net.Conn
	address net.Addr
}

func (t tunnels) Accept() (net.Conn, error) { return <-t.opened, nil }
func (t tunnels) Close() error              { return nil }
func (t tunnels) Addr() net.Addr            { return t.address }

func (t tunnels) open(to http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodConnect {
		http.Error(to, "this proxy has tunnels only", http.StatusMethodNotAllowed)
		return
	}
	connection, _, err := http.NewResponseController(to).Hijack()
	if err != nil {
		log.Print(err)
		return
	}
	if err := connection.SetDeadline(time.Time{}); err != nil {
		log.Print(err)
		return
	}
	if _, err := connection.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		log.Print(err)
		return
	}
	t.opened <- connection
}

// identify is GetCallerIdentity, presigned.
func identify(read load) http.HandlerFunc {
	return func(to http.ResponseWriter, request *http.Request) {
		known, err := read()
		if err != nil {
			http.Error(to, err.Error(), http.StatusInternalServerError)
			return
		}
		found, code := callerOf(known, request)
		if code != "" {
			log.Print("refused: ", code)
			answer(to, http.StatusForbidden, map[string]any{"Error": map[string]any{"Code": code, "Type": "Sender"}})
			return
		}
		answer(to, http.StatusOK, map[string]any{"GetCallerIdentityResponse": map[string]any{
			"GetCallerIdentityResult": map[string]any{"Account": found.Account, "Arn": found.ARN, "UserId": found.UserID},
			"ResponseMetadata":        map[string]any{"RequestId": "00000000-0000-0000-0000-000000000000"},
		}})
	}
}

// callerOf tells whom a request is from, or why that is not said.
func callerOf(known settings, request *http.Request) (caller, string) {
	query := request.URL.Query()
	if query.Get("Action") != "GetCallerIdentity" {
		return caller{}, "InvalidAction"
	}
	id, _, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	own, ok := known.Credentials[id]
	if !ok {
		return askLocalAWS(known.LocalAWS, request)
	}
	signed, err := time.Parse(timeFormat, query.Get("X-Amz-Date"))
	if err != nil || time.Since(signed).Abs() > tolerance {
		return caller{}, "RequestExpired"
	}
	if !isSignedWith(own.Secret, request) {
		return caller{}, "SignatureDoesNotMatch"
	}
	return own.caller, ""
}
