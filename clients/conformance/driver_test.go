package conformance_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// answer is one line of a driver's, or what a scenario keeps of several.
type answer = map[string]any

// driver is a driver under way. It is safe for concurrent use.
type driver struct {
	command *exec.Cmd
	input   io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	gone    error         // why there are no more answers
	ended   chan struct{} // closed when there are none
}

// startDriver starts a language's driver. variables are added to its environment.
func startDriver(t *testing.T, l language, variables ...string) *driver {
	t.Helper()
	d := &driver{command: exec.Command(filepath.Join("..", l.dir, "run"), append([]string{"driver"}, l.variant...)...), waiting: map[int]chan answer{}, ended: make(chan struct{})}
	for _, variable := range os.Environ() { // what is there for another server
		if !strings.HasPrefix(variable, "JOTSMITH_") {
			d.command.Env = append(d.command.Env, variable)
		}
	}
	d.command.Env = append(d.command.Env, variables...)
	d.command.Stderr = os.Stderr
	var err error
	if d.input, err = d.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := d.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.command.Start(); err != nil {
		t.Fatal(err)
	}
	go d.read(output)
	t.Cleanup(func() { d.stop(t) })
	return d
}

// stop ends the input, upon which the driver has to end too.
func (d *driver) stop(t *testing.T) {
	d.input.Close()
	select {
	case <-d.ended:
	case <-time.After(20 * time.Second):
		t.Error("the driver does not end with its input")
		_ = d.command.Process.Kill()
	}
	if err := d.command.Wait(); err != nil {
		t.Errorf("the driver ended with %v", err)
	}
}

func (d *driver) read(output io.Reader) {
	lines := bufio.NewReaderSize(output, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = d.deliver(line)
		}
		if err != nil {
			d.mu.Lock()
			d.gone = fmt.Errorf("the driver says no more: %w", err)
			d.mu.Unlock()
			close(d.ended)
			return
		}
	}
}

// deliver gives an answer to the command that waits for it.
func (d *driver) deliver(line []byte) error {
	read, err := parse(string(line))
	if err != nil {
		return fmt.Errorf("%w: %.200q", err, line)
	}
	a, _ := read.(answer)
	number, _ := a["id"].(json.Number)
	id, err := number.Int64()
	if err != nil {
		return fmt.Errorf("an answer without an id: %.200q", line)
	}
	d.mu.Lock()
	waiting := d.waiting[int(id)]
	d.mu.Unlock()
	if waiting == nil {
		return fmt.Errorf("an answer to no command: %.200q", line)
	}
	select {
	case waiting <- a:
		return nil
	default:
		return errors.New("more answers than anybody takes")
	}
}

// send begins a command and returns its id and where its answers come.
func (d *driver) send(op string, arguments map[string]any) (int, <-chan answer, error) {
	d.mu.Lock()
	d.next++
	id := d.next
	answers := make(chan answer, 64)
	d.waiting[id] = answers
	d.mu.Unlock()
	command := map[string]any{"id": id, "op": op}
	maps.Copy(command, arguments)
	text, err := json.Marshal(command)
	if err != nil {
		return 0, nil, err
	}
	d.mu.Lock()
	_, err = d.input.Write(append(text, '\n'))
	d.mu.Unlock()
	return id, answers, err
}

// patience is how long a command may take that nothing else bounds. It is long
// because several drivers share the machine.
const patience = 40 * time.Second

// receive waits for the next answer to a command.
func (d *driver) receive(answers <-chan answer) (answer, error) {
	select {
	case a := <-answers:
		return a, nil
	case <-d.ended:
		select {
		case a := <-answers:
			return a, nil
		default:
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		return nil, d.gone
	case <-time.After(patience):
		return nil, errors.New("no answer")
	}
}

// do is a command with one answer.
func (d *driver) do(op string, arguments map[string]any) (answer, error) {
	_, answers, err := d.send(op, arguments)
	if err != nil {
		return nil, err
	}
	return d.receive(answers)
}
