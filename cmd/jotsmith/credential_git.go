package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// gitQuestion is what git wants a credential for.
// https://git-scm.com/docs/git-credential#IOFMT
type gitQuestion struct {
	protocol, host, username string
	bearer                   bool // this git can send what is not a password
}

// maxGitInput is more than git sends, in bytes; wwwauth[] repeats what a server said.
const maxGitInput = 1 << 20

var errGitInput = errors.New("standard input is not git's: lines of key=value are expected")

// readGit reads to the empty line that ends a question, or to the end.
func readGit(r io.Reader) (gitQuestion, error) {
	var q gitQuestion
	lines := bufio.NewScanner(io.LimitReader(r, maxGitInput))
	lines.Buffer(nil, maxGitInput)
	for lines.Scan() && lines.Text() != "" {
		key, value, ok := strings.Cut(lines.Text(), "=")
		switch {
		case !ok || strings.ContainsAny(value, "\x00\r"):
			return q, errGitInput
		case key == "protocol":
			q.protocol = value
		case key == "host":
			q.host = value
		case key == "username":
			q.username = value
		case key == "capability[]" && value == "authtype":
			q.bearer = true
		}
	}
	if lines.Err() != nil {
		return q, errGitInput
	}
	return q, nil
}

// write answers a question. Nothing in a token is a line's end.
func (q gitQuestion) write(w io.Writer, token *oauth2.Token) error {
	answer := fmt.Sprintf("username=%s\npassword=%s\n", q.username, token.AccessToken)
	if q.bearer { // ephemeral: no other helper is to keep it
		answer = fmt.Sprintf("capability[]=authtype\nauthtype=Bearer\ncredential=%s\nephemeral=1\n", token.AccessToken)
	}
	// A token for one use is over for whoever would keep it, and git takes none that is.
	if time.Until(token.Expiry) > time.Second {
		answer += fmt.Sprintf("password_expiry_utc=%d\n", token.Expiry.Unix())
	}
	_, err := io.WriteString(w, answer)
	return err
}
