package terminal

// Interrupt is the key that ends a program, Ctrl-C, as a terminal sends it that
// has been told to send all keys.
const Interrupt = 0x03

// keys finds the keys among the bytes of a terminal's keyboard: what an arrow or
// a function key sends begins with an escape and has letters in it that nobody
// typed.
type keys struct {
	state keyState
}

type keyState int

const (
	plain keyState = iota
	escape
	sequence // after ESC [, until a byte from @ to ~
	single   // after ESC O, one byte
)

// key returns the key that a byte is, or that it completes none.
func (k *keys) key(b byte) (key byte, ok bool) {
	switch k.state {
	case escape:
		switch b {
		case '[':
			k.state = sequence
			return 0, false
		case 'O':
			k.state = single
			return 0, false
		case 0x1b:
			return 0, false
		}
	case sequence:
		if b >= '@' && b <= '~' {
			k.state = plain
		}
		if b != Interrupt {
			return 0, false
		}
	case single:
		k.state = plain
		return 0, false
	case plain:
		if b == 0x1b {
			k.state = escape
			return 0, false
		}
	}
	k.state = plain
	return b, true
}
