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
		"agent/image/qcow2/header.go", "place", "without: off > uint64(h.file)",
		"what is beyond the file is beyond its length less n, too, and what is no int64 is negative, so before the first cluster",
	},
	{"agent/image/qcow2/map.go", "clusters", "never: entry == 0", "the case of an entry without a place passes over it, too"},
	{
		"agent/image/qcow2/map.go", "sort", "without: b.kind == Packed",
		"all but packed clusters begin and end with sectors, so that they share a whole one or nothing with what is before them",
	},
	{
		"server/engine/agents.go", "Secret", "without: err != nil",
		"a step that is not found comes back as an empty record, which is of no node: the next operand refuses it",
	},
}

const (
	noKey  = "without an error there is still no key, and the parser refuses a signature without one's key"
	noJSON = "a record that can't be marshalled leaves nothing, and nothing is no JSON to be unmarshalled"
)
