//go:build linux && amd64

// Command faulty runs a program and has its calls on files below a directory fail, by ptrace(2):
//
//	faulty DIR PROGRAM [ARGUMENT...]
//
// It is for tests, which talk to it in lines, and get one line for each: file descriptor 3 is what they say, 4 what they
// are answered.
//
//	calls            the calls since the last line, each as "CALL PATH", separated by tabs
//	fail HOW CALL PATH N
//	                 from now on, have the N-th such call fail
//	all HOW          from now on, have every second call of each thread fail, of those that HOW is for
//	none             nothing fails any more
//	struck           how many calls have been made to fail
//
// A call is known by its name (openat that makes a file is "creat"), and by its path below DIR with ids, dates and random
// endings left out, so that it is the same in every run. How a call fails:
//
//	EIO ENOSPC EINTR   it is not made, and that is its error
//	undone             it is made, and EIO is what the program hears
//	full               of the bytes to write half are written; the next write to the file is ENOSPC, as on a full disk
//	short              of the bytes to write half are written
//
// strace(1) injects errors too, but counts calls for each thread by itself, which a Go program moves between, and it has no
// writes that are short: it can only say so of writes that were not made.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: faulty DIR PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	if os.Args[1] == filtered {
		fmt.Fprintln(os.Stderr, "faulty:", become(os.Args[2:]))
		os.Exit(125)
	}
	root := os.Args[1]
	plan := &plan{root: root, counts: map[string]int{}}
	if orders := os.NewFile(3, "orders"); orders != nil {
		go obey(plan, bufio.NewScanner(orders), os.NewFile(4, "answers"))
	}
	code, err := trace(plan, os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

// obey does what each line says, and answers it.
func obey(p *plan, orders *bufio.Scanner, answers *os.File) {
	for orders.Scan() {
		word, rest, _ := strings.Cut(orders.Text(), " ")
		answer := "done"
		switch word {
		case "calls":
			answer = strings.Join(p.take(), "\t")
		case "fail":
			i := strings.LastIndexByte(rest, ' ')
			how, call, _ := strings.Cut(rest[:max(i, 0)], " ")
			nth, err := strconv.Atoi(rest[i+1:])
			if err != nil {
				answer = err.Error()
				break
			}
			p.arm(how, call, nth)
		case "all":
			p.arm(rest, "", 0)
		case "none":
			p.arm("", "", 0)
		case "struck":
			answer = strconv.Itoa(p.hits())
		default:
			answer = "there is no order " + word
		}
		_, _ = fmt.Fprintln(answers, answer)
	}
}

// forward hands the signals that end a program on to it.
func forward(to *os.Process) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	for s := range signals {
		_ = to.Signal(s) // it may have ended
	}
}
