package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"strings"

	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
)

// What an API server asks.
type tokenReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token string `json:"token"`
	} `json:"spec"`
}

// webhook answers token reviews at /NAME, where NAME is the cluster's.
func webhook(at place, read load) error {
	listener, err := net.Listen("tcp", at.Address)
	if err != nil {
		return err
	}
	review := func(to http.ResponseWriter, request *http.Request) {
		var asked tokenReview
		if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || asked.Kind != "TokenReview" {
			http.Error(to, "this is no TokenReview", http.StatusBadRequest)
			return
		}
		known, err := read()
		if err != nil {
			http.Error(to, err.Error(), http.StatusInternalServerError)
			return
		}
		name := strings.Trim(request.URL.Path, "/")
		status := statusOf(known, name, asked.Spec.Token)
		answer(to, http.StatusOK, map[string]any{"apiVersion": asked.APIVersion, "kind": asked.Kind, "status": status})
	}
	return serverOf(review).ServeTLS(listener, at.Certificate, at.Key)
}

func statusOf(known settings, name, text string) map[string]any {
	if _, ok := known.Clusters[name]; !ok {
		return refused("no cluster is called " + name)
	}
	identity, err := token.NewVerifier(name, "aws", known.Region).Verify(text)
	if err != nil {
		return refused(err.Error())
	}
	entry, ok := known.mappingOf(identity.CanonicalARN)
	if !ok {
		return refused(identity.CanonicalARN + " has no access to this cluster")
	}
	log.Printf("%s: %s is %s", name, identity.ARN, entry.Username)
	return map[string]any{"authenticated": true, "user": map[string]any{
		"username": entry.Username,
		"uid":      "aws-iam-authenticator:" + identity.AccountID + ":" + identity.UserID,
		"groups":   entry.Groups,
		"extra": map[string][]string{
			"arn":          {identity.ARN},
			"canonicalArn": {identity.CanonicalARN},
			"sessionName":  {identity.SessionName},
			"principalId":  {identity.UserID},
			"accessKeyId":  {identity.AccessKeyID},
		},
	}}
}

func refused(reason string) map[string]any {
	log.Print("refused: ", reason)
	return map[string]any{"authenticated": false, "error": reason}
}
