package main

import (
	"encoding/json"
	"os"
	"path"
)

// What scripts/clusters/identity.py writes.
type settings struct {
	Region string `json:"region"`
	// The local AWS, which knows the credentials that it gave away itself.
	LocalAWS string `json:"local_aws"`
	// Where each mode listens.
	Places map[string]place `json:"places"`
	// By access key id.
	Credentials map[string]credential `json:"credentials"`
	// The first that fits counts.
	Mappings []mapping `json:"mappings"`
	// By name.
	Clusters map[string]cluster `json:"clusters"`
}

type place struct {
	Address     string `json:"address"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

type credential struct {
	Secret string `json:"secret"`
	caller
}

// Whom STS says a request is from.
type caller struct {
	Account string `json:"account"`
	ARN     string `json:"arn"`
	UserID  string `json:"user_id"`
}

// Who a role is to Kubernetes: EKS calls it an access entry.
type mapping struct {
	// The role's ARN; `*` stands for anything but a slash.
	Role     string   `json:"role"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

type cluster struct {
	Endpoint string `json:"endpoint"`
	Version  string `json:"version"`
	// In base64, as EKS gives it.
	Authority string `json:"authority"`
}

type load func() (settings, error)

func readSettings(file string) (settings, error) {
	var read settings
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	return read, err
}

func (s settings) mappingOf(role string) (mapping, bool) {
	for _, entry := range s.Mappings {
		if fits, err := path.Match(entry.Role, role); err == nil && fits {
			return entry, true
		}
	}
	return mapping{}, false
}
