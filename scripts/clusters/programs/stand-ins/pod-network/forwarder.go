package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
)

// A process is known by its pid and by when it began, so that a pid that is left over is never taken for it.
type forwarder struct {
	PID   int    `json:"pid"`
	Began string `json:"began"`
}

// startForwarder opens the port within the pod and leaves it to a process that outlives this one.
func startForwarder(namespace string, port int, kept string) error {
	var listener *net.TCPListener
	err := within(namespace, func() error {
		if err := raiseLoopback(); err != nil {
			return err
		}
		var err error
		listener, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer nothing.Close()
	process, err := os.StartProcess(program, []string{program, "forward"}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{nothing, nothing, nothing, socket},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return keepForwarder(process.Pid, kept)
}

// forward is the process that stays: from the socket in the pod, its file 3, to the same port outside.
func forward() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		inner, err := listener.Accept()
		if err != nil {
			os.Exit(1)
		}
		go join(inner.(*net.TCPConn), listener.Addr().String())
	}
}

func join(inner *net.TCPConn, address string) {
	defer inner.Close()
	connection, err := net.Dial("tcp4", address)
	if err != nil {
		return
	}
	outer := connection.(*net.TCPConn)
	defer outer.Close()
	back := make(chan struct{})
	go func() {
		carry(inner, outer)
		close(back)
	}()
	carry(outer, inner)
	<-back
}

// carry copies one direction; its end reaches the other side, while the other direction may go on.
func carry(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

func keepForwarder(pid int, kept string) error {
	began, err := beganAt(pid)
	if err != nil {
		return err
	}
	text, err := json.Marshal(forwarder{pid, began})
	if err != nil {
		return err
	}
	return os.WriteFile(kept, text, 0o600)
}

func readForwarder(kept string) (forwarder, error) {
	var found forwarder
	text, err := os.ReadFile(kept)
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	return found, err
}

// endForwarder may be asked again, and for a pod that never had one.
func endForwarder(kept string) error {
	found, err := readForwarder(kept)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.lives() {
		if err := syscall.Kill(found.PID, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return os.Remove(kept)
}

func (f forwarder) lives() bool {
	began, err := beganAt(f.PID)
	return err == nil && began == f.Began
}

// beganAt is the 22nd field of /proc/PID/stat, in clock ticks since the machine's start. The second is the program's
// name in brackets, and may hold anything.
func beganAt(pid int) (string, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	return string(fields[19]), nil
}
