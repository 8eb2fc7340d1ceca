package main

// equivalent is a mutant that behaves as the original does, so that no test can notice it.
type equivalent struct{ file, fn, change, why string }

var equivalents = []equivalent{
	{"server/token/token.go", "key", `no error: return nil, errors.New("the header is not that of an agent's token")`, noKey},
	{"server/token/token.go", "key", `no error: return nil, errors.New("the key id is not known")`, noKey},
	{"server/token/token.go", "key", `no error: return nil, errors.New("the key is retired")`, noKey},
	{"server/conductor/disks/disks.go", "erasedBy", "always: err == nil", noJSON},
	{"server/conductor/disks/disks.go", "Written", "always: err == nil", noJSON},
	{
		"server/engine/agents.go", "Secret", "without: err != nil",
		"a step that is not found comes back as an empty record, which is of no node: the next operand refuses it",
	},
}

const (
	noKey  = "without an error there is still no key, and the parser refuses a signature without one's key"
	noJSON = "a record that can't be marshalled leaves nothing, and nothing is no JSON to be unmarshalled"
)
