package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// within does something in another network namespace. What it opens there stays there.
func within(namespace string, do func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked, so that the thread ends with this function and takes no other work there.
		runtime.LockOSThread()
		done <- enterAndDo(namespace, do)
	}()
	return <-done
}

func enterAndDo(namespace string, do func() error) error {
	file, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter %s: %w", namespace, err)
	}
	return do()
}

// raiseLoopback brings up `lo`, which a new namespace has, down and without an address.
func raiseLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// madeUpAddress is an address of its own for each pod.
func madeUpAddress(id string) string {
	digest := sha256.Sum256([]byte(id))
	return fmt.Sprintf("10.88.%d.%d/32", digest[0], digest[1])
}
