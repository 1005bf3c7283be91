// A CNI plugin: a pod has a network namespace of its own with nothing but loopback, where one port leads to the same
// port of the machine's loopback. That is where the local AWS listens, so in a pod it is where it is outside.
//
// Called as `loopback` it is the plugin of that name, which containerd wants as well. Called as `pod-network forward`
// it is the process that stays, one a pod.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// What containerd passes on from the node's CNI configuration.
type config struct {
	CNIVersion string `json:"cniVersion"`
	// The one port that leads out of the pod.
	Port int `json:"port"`
	// The folder that remembers which process forwards for which pod.
	Forwarders string `json:"forwarders"`
}

// What containerd says of the pod, in the environment.
type pod struct {
	command, id, namespace, device string
}

var versions = []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0"}

func main() {
	if slices.Equal(os.Args[1:], []string{"forward"}) {
		forward()
		return
	}
	var given config
	asked := pod{os.Getenv("CNI_COMMAND"), os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_NETNS"), os.Getenv("CNI_IFNAME")}
	err := json.NewDecoder(os.Stdin).Decode(&given)
	if err == nil {
		if filepath.Base(os.Args[0]) == "loopback" {
			err = loopback(asked, given)
		} else {
			err = network(asked, given)
		}
	}
	if err != nil {
		answer(map[string]any{"cniVersion": given.CNIVersion, "code": 100, "msg": err.Error()})
		os.Exit(1)
	}
}

func loopback(asked pod, given config) error {
	switch asked.command {
	case "ADD":
		if err := within(asked.namespace, raiseLoopback); err != nil {
			return err
		}
		return answer(result(asked, given, "127.0.0.1/8"))
	case "VERSION":
		return answerVersions()
	}
	return nil
}

func network(asked pod, given config) error {
	kept := filepath.Join(given.Forwarders, asked.id)
	switch asked.command {
	case "ADD":
		if err := startForwarder(asked.namespace, given.Port, kept); err != nil {
			return err
		}
		return answer(result(asked, given, madeUpAddress(asked.id)))
	case "DEL":
		return endForwarder(kept)
	case "CHECK":
		if forwarder, err := readForwarder(kept); err != nil || !forwarder.lives() {
			return fmt.Errorf("nothing forwards for pod %s", asked.id)
		}
		return nil
	case "VERSION":
		return answerVersions()
	}
	return fmt.Errorf("CNI_COMMAND is %q; allowed: ADD, DEL, CHECK, VERSION", asked.command)
}

// result is the answer to ADD. The kubelet wants a pod to have an address; nobody ever connects to it.
func result(asked pod, given config, address string) map[string]any {
	return map[string]any{
		"cniVersion": given.CNIVersion,
		"interfaces": []any{map[string]any{"name": asked.device, "sandbox": asked.namespace}},
		"ips":        []any{map[string]any{"version": "4", "interface": 0, "address": address}},
	}
}

func answerVersions() error {
	return answer(map[string]any{"cniVersion": "1.0.0", "supportedVersions": versions})
}

func answer(document any) error {
	return json.NewEncoder(os.Stdout).Encode(document)
}
