// Package input reads what an operator gives beside the words of a command: values, files, the standard input. A mistake
// in it is a UsageError.
package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Reader reads what a command is given beside its words: values, files, the standard input.
type Reader struct {
	In io.Reader // the standard input

	mu   sync.Mutex // nodes are acted on at the same time
	use  string     // what In was read for; "": not yet
	text []byte
	err  error
}

// Values of --property KEY=VALUE and its like. A value that is JSON (an object, a list, a quoted text, true, false,
// null, a number) is taken as such; anything else is text. @FILE takes a file's content for the value, @- the standard
// input's; what is written there is read by the same rule. A secret is always text.

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// parse reads KEY=VALUE. A slash in KEY leads into an object: root_device/serial=S1.
func (r *Reader) parse(arg string, onlyText bool) (key string, value any, err error) {
	key, text, ok := strings.Cut(arg, "=")
	if !ok || key == "" {
		return "", nil, Usage("%q is not of the form KEY=VALUE", arg)
	}
	last, at := key[strings.LastIndex(key, "/")+1:], ""
	if file, found := strings.CutPrefix(text, "@"); found {
		content, err := r.Read(file, key)
		if err != nil {
			return "", nil, err
		}
		text, at = strings.TrimRight(string(content), "\r\n"), " in "+inputName(file)
		if api.SecretName(last) {
			if text == "" {
				return "", nil, Usage("the secret %s is to be read from %s, which is empty", key, inputName(file))
			}
			return key, text, nil // also one that looks like a number or like JSON
		}
	} else if api.SecretName(last) && text != "" { // every process list would show it
		return "", nil, Usage("%s is a secret, which other users of this host could read on the command line: give %s=@FILE, or %s=@- for the standard input", last, key, key)
	}
	// Serial numbers and world wide names are text even when they are made of digits.
	onlyText = onlyText || slices.Contains([]string{"serial", "wwn", "wwn_with_extension", "wwn_vendor_extension"}, last)
	word := text == "true" || text == "false" || text == "null"
	if structured(strings.TrimSpace(text)) || !onlyText && (word || number.MatchString(text)) {
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return "", nil, Usage("the value of %s%s begins like JSON but is none: %v; as a text it stands in quotes", key, at, err)
		}
		return key, value, nil
	}
	return key, text, nil
}

// structured tells whether a value begins as JSON does that is no bare word.
func structured(text string) bool { return text != "" && strings.ContainsRune("{[\"", rune(text[0])) }

// Read gives a file's content, or that of the standard input for "-". That can be read once: every node gets what stands
// there, but only one use of it, such as one flag, is possible.
func (r *Reader) Read(file, use string) ([]byte, error) {
	if file == "-" {
		return r.once(use)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, Usage("read %s: %v", file, Cause(err))
	}
	return content, nil
}

// once reads the standard input for one use.
func (r *Reader) once(use string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.use == "" {
		r.use = use
		r.text, r.err = io.ReadAll(r.In)
	}
	if r.use != use {
		return nil, Usage("the standard input can't be both %s and %s: give a file for one of them", r.use, use)
	}
	return r.text, r.err
}

// inputName is how a file is called that may be the standard input.
func inputName(file string) string {
	if file == "-" {
		return "the standard input"
	}
	return file
}

// Cause is what is wrong with a file, without its name, which is told already.
func Cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Fields makes the patch for one map field out of its arguments. Objects on the way that may be missing are made.
func (r *Reader) Fields(current map[string]any, field string, args []string, onlyText bool) ([]api.PatchOp, error) {
	var ops []api.PatchOp
	made := map[string]bool{}
	for _, arg := range args {
		key, value, err := r.parse(arg, onlyText)
		if err != nil {
			return nil, err
		}
		parts := strings.Split(key, "/")
		at := current
		for i, p := range parts[:len(parts)-1] {
			path := "/" + field + "/" + strings.Join(parts[:i+1], "/")
			next, ok := at[p].(map[string]any)
			if !ok && !made[path] {
				ops = append(ops, api.PatchOp{Op: "add", Path: path, Value: map[string]any{}})
				made[path] = true
			}
			at = next
		}
		ops = append(ops, api.PatchOp{Op: "add", Path: "/" + field + "/" + key, Value: value})
	}
	return ops, nil
}

// Object makes a map out of arguments, for a create body.
func (r *Reader) Object(args []string, onlyText bool) (map[string]any, error) {
	out := map[string]any{}
	for _, arg := range args {
		key, value, err := r.parse(arg, onlyText)
		if err != nil {
			return nil, err
		}
		at := out
		parts := strings.Split(key, "/")
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = value
	}
	return out, nil
}

// Secret is a secret that stands in a file, without the line break behind it; "-" is the standard input.
func (r *Reader) Secret(file, use string) (string, error) {
	text, err := r.Read(file, use)
	if err != nil {
		return "", err
	}
	if s := strings.TrimRight(string(text), "\r\n"); s != "" {
		return s, nil
	}
	return "", Usage("%s is empty", inputName(file))
}

// Document reads a YAML or JSON file as decoded JSON: objects have texts as keys, numbers are float64.
func (r *Reader) Document(file, use string) (any, error) {
	content, err := r.Read(file, use)
	if err != nil {
		return nil, err
	}
	var v any
	if err := yaml.Unmarshal(content, &v); err != nil {
		return nil, Usage("%s: %v", file, err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, Usage("%s can't be written as JSON: %v", file, err)
	}
	var out any
	err = json.Unmarshal(text, &out)
	return out, err
}

// ReadYAML reads a YAML file as decoded JSON; found is false when there is none.
func ReadYAML(path string) (doc map[string]any, found bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", path, Cause(err))
	}
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, true, fmt.Errorf("%s: %w", path, err)
	}
	return doc, true, nil
}
