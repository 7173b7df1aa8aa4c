package pkcs11

// TokenState is what can be known of a backend's token and of its PIN without a
// login.
type TokenState struct {
	// PINFile says why the PIN would not be taken from its file; nil where it
	// would.
	PINFile error
	// Remembers says whether a PIN that the token refused is remembered over a
	// restart, and Memory why that cannot be read: then no login is made.
	Remembers bool
	Memory    error
	// Refused says that the PIN in the file is one that the token has refused
	// before, and RefusedMend what to do where it is right by now.
	Refused     bool
	RefusedMend string

	// Token says why the module cannot be loaded, or the token not be found; the
	// fields below are then empty.
	Token         error
	Label, Serial string
	LoginRequired bool // without it there is no PIN
	PINSet        bool // the user PIN has been initialised
	CountLow      bool // at least one wrong PIN since the last right one
	FinalTry      bool // one more wrong PIN locks it
	Locked        bool
	ToBeChanged   bool // the PIN is the security officer's choice, or has expired
}
