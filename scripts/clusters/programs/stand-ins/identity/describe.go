package main

import (
	"net"
	"net/http"
)

// The account of the local AWS.
const account = "000000000000"

// describe is DescribeCluster: GET /clusters/NAME.
func describe(at place, read load) error {
	listener, err := net.Listen("tcp", at.Address)
	if err != nil {
		return err
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /clusters/{name}", func(to http.ResponseWriter, request *http.Request) {
		known, err := read()
		if err != nil {
			http.Error(to, err.Error(), http.StatusInternalServerError)
			return
		}
		name := request.PathValue("name")
		found, ok := known.Clusters[name]
		if !ok {
			to.Header().Set("x-amzn-errortype", "ResourceNotFoundException")
			answer(to, http.StatusNotFound, map[string]any{"message": "No cluster found for name: " + name + "."})
			return
		}
		answer(to, http.StatusOK, map[string]any{"cluster": map[string]any{
			"name":                 name,
			"arn":                  "arn:aws:eks:" + known.Region + ":" + account + ":cluster/" + name,
			"endpoint":             found.Endpoint,
			"status":               "ACTIVE",
			"version":              found.Version,
			"certificateAuthority": map[string]any{"data": found.Authority},
		}})
	})
	return serverOf(routes.ServeHTTP).Serve(listener)
}
