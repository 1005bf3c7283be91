// Stands in for what of AWS a cluster of EKS and its clients speak with. Three programs in one:
//
//	identity webhook SETTINGS   tells an API server whose token it was given, by aws-iam-authenticator's own verifier
//	identity sts SETTINGS       is the STS that the verifier asks, behind a proxy, since it asks none but AWS's hosts
//	identity describe SETTINGS  is EKS, as far as DescribeCluster: where a cluster is and which certificates it has
//
// The settings are read again at each request: a cluster that is added later needs no new start.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	modes := map[string]func(place, load) error{"webhook": webhook, "sts": sts, "describe": describe}
	if len(os.Args) != 3 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: identity webhook|sts|describe SETTINGS")
		os.Exit(2)
	}
	mode := os.Args[1]
	read := func() (settings, error) { return readSettings(os.Args[2]) }
	first, err := read()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(modes[mode](first.Places[mode], read))
}

// answer writes a document, and the status if it is not 200.
func answer(to http.ResponseWriter, status int, document any) {
	to.Header().Set("Content-Type", "application/json")
	to.WriteHeader(status)
	if err := json.NewEncoder(to).Encode(document); err != nil {
		log.Print(err)
	}
}

// serverOf has no client wait for another that is slow.
func serverOf(handler http.HandlerFunc) *http.Server {
	return &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
}
