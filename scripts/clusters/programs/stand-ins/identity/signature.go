package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// SigV4's way to write a time.
const timeFormat = "20060102T150405Z"

// isSignedWith checks the signature in the query of a GET without a body: SigV4, as AWS documents it. A session's
// token is one more parameter.
func isSignedWith(secret string, request *http.Request) bool {
	query := request.URL.Query()
	_, scope, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	canonical := sha256.Sum256([]byte(canonicalRequest(request)))
	toSign := strings.Join([]string{
		query.Get("X-Amz-Algorithm"), query.Get("X-Amz-Date"), scope, hex.EncodeToString(canonical[:]),
	}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range strings.Split(scope, "/") {
		key = mac(key, part)
	}
	wanted := hex.EncodeToString(mac(key, toSign))
	return query.Get("X-Amz-Algorithm") == "AWS4-HMAC-SHA256" &&
		hmac.Equal([]byte(wanted), []byte(query.Get("X-Amz-Signature")))
}

func canonicalRequest(request *http.Request) string {
	query := request.URL.Query()
	names := query.Get("X-Amz-SignedHeaders")
	headers := ""
	for _, name := range strings.Split(names, ";") {
		value := strings.Join(request.Header.Values(name), ",")
		if name == "host" {
			value = request.Host
		}
		headers += name + ":" + strings.TrimSpace(value) + "\n"
	}
	empty := sha256.Sum256(nil)
	return strings.Join([]string{
		request.Method, "/", canonicalQuery(query), headers, names, hex.EncodeToString(empty[:]),
	}, "\n")
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, value := range values {
			pairs = append(pairs, escaped(name)+"="+escaped(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escaped is url.QueryEscape but for the space, which SigV4 wants as %20.
func escaped(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}
