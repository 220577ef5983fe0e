package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// What is merely called init is an application like any other.
func TestIsInit(t *testing.T) {
	for program, want := range map[string]bool{
		"/sbin/init":                 true,
		"/usr/sbin/init":             true,
		"/lib/systemd/systemd":       true,
		"/package/admin/s6-svscan":   true,
		"/app/init":                  false,
		"init":                       false,
		"/usr/local/bin/init":        false,
		"/docker-entrypoint.d/init":  false,
		"/sbin/init-database":        false,
		"/usr/local/bin/initializer": false,
	} {
		if got := isInit(program); got != want {
			t.Errorf("%s: %v, want %v", program, got, want)
		}
	}
}

// The scripts that inits are, and those that only start an application.
func TestOwnScript(t *testing.T) {
	for content, own := range map[string]bool{
		"#!/bin/sh\nset -e\nexec node server.js\n":                           true,
		"#!/bin/sh -e\n# s6-overlay: run the stages\nexec s6-overlay-suexec": false,
		"#!/command/execlineb -S0\nbackground { }\n":                         false,
		"\x7fELF...": false,
	} {
		name := filepath.Join(t.TempDir(), "init")
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := ownScript(name); got != own {
			t.Errorf("%q: %v, want %v", content, got, own)
		}
	}
}

// This process has handlers, since it is Go's, and what has none says so.
func TestCatches(t *testing.T) {
	own, err := os.ReadFile("/proc/" + strconv.Itoa(os.Getpid()) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if !catches(string(own), syscall.SIGTERM) || catches(string(own), syscall.SIGKILL) {
		t.Errorf("in\n%s", own)
	}
	for status, want := range map[string]bool{
		"SigCgt:\t0000000000004000\n": true,
		"SigCgt:\t0000000000000001\n": false,
		"SigCgt:\tnone\n":             false,
		"Name:\tinit\n":               false,
	} {
		if got := catches(status, syscall.SIGTERM); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
	if !catches("SigCgt:\t0000001000000000\n", systemdHalt) {
		t.Error("SIGRTMIN+3 is not seen")
	}
}

// A program that is still open for writing elsewhere is tried again, and not for ever.
func TestPatiently(t *testing.T) {
	tries := 0
	if err := patiently(func() error {
		if tries++; tries < 3 {
			return &os.PathError{Op: "fork/exec", Path: "/x", Err: syscall.ETXTBSY}
		}
		return nil
	}); err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	broken := errors.New("broken")
	if err := patiently(func() error { return broken }); err != broken {
		t.Error(err)
	}
	if err := patiently(func() error { return syscall.ETXTBSY }); err != syscall.ETXTBSY {
		t.Error(err)
	}
}
