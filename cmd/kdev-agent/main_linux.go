// kdev-agent runs the application of a dev container and keeps its files equal
// to those on the developer's machine. See package sync/agent.
package main

import (
	"os"

	"github.com/kdev-io/kdev/sync/agent"
)

// version is set when kdev is released.
var version = "dev"

const usage = `usage:
  agent run -- COMMAND [ARG…]   run an application as the container's first process
  agent serve                   speak with kdev on stdin and stdout
  agent carry PORT …            stand in for the application: carry its ports over stdin and stdout
  agent env                     print the environment, with zero bytes at the ends
  agent usage                   print the nanoseconds of processors and the bytes of memory that the container takes
  agent seed FOLDER VOLUME …    copy folders of the image into volumes
  agent renewed FOLDER FILE SHA256 …   wait until files of a volume have that content; - for a file that goes
  agent version
`

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "run":
		command := args[1:]
		if len(command) > 0 && command[0] == "--" {
			command = command[1:]
		}
		os.Exit(agent.Run(command, agent.Options{Version: version}))
	case "serve":
		os.Exit(agent.Serve(agent.Options{Version: version}))
	case "carry":
		os.Exit(agent.Carry(args[1:], agent.Options{Version: version}))
	case "env":
		os.Exit(agent.Environ())
	case "usage":
		os.Exit(agent.Usage())
	case "seed":
		os.Exit(agent.Seed(args[1:]))
	case "renewed":
		os.Exit(agent.Renewed(args[1:]))
	case "version":
		os.Stdout.WriteString(version + "\n")
	default:
		os.Stderr.WriteString(usage)
		os.Exit(2)
	}
}
