package cli

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

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Values of --property KEY=VALUE and its like. A value that is JSON (an object, a list, a quoted text, true, false,
// null, a number) is taken as such; anything else is text. @FILE takes a file's content as text, @- the standard input.

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// parse reads KEY=VALUE. A slash in KEY leads into an object: root_device/serial=S1.
func (c *command) parse(arg string, onlyText bool) (key string, value any, err error) {
	key, text, ok := strings.Cut(arg, "=")
	if !ok || key == "" {
		return "", nil, usage("%q is not of the form KEY=VALUE", arg)
	}
	if file, found := strings.CutPrefix(text, "@"); found {
		content, err := c.read(file)
		return key, strings.TrimRight(string(content), "\r\n"), err
	}
	if last := key[strings.LastIndex(key, "/")+1:]; isSecret(last) && text != "" { // every process list would show it
		return "", nil, usage("%s is a secret, which other users of this host could read on the command line: give %s=@FILE, or %s=@- for the standard input", last, key, key)
	}
	// Serial numbers and world wide names are text even when they are made of digits.
	onlyText = onlyText || slices.Contains([]string{"serial", "wwn", "wwn_with_extension", "wwn_vendor_extension"}, key[strings.LastIndex(key, "/")+1:])
	structured := strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, `"`)
	word := text == "true" || text == "false" || text == "null"
	if structured || !onlyText && (word || number.MatchString(text)) {
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return "", nil, usage("the value of %s begins like JSON but is none: %v", key, err)
		}
		return key, value, nil
	}
	return key, text, nil
}

// read gives a file's content, or that of the standard input for "-".
func (c *command) read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.In)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, usage("read %s: %v", file, unwrapped(err))
	}
	return content, nil
}

// unwrapped is what is wrong with a file, without its name, which is told already.
func unwrapped(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// fields makes the patch for one map field out of its arguments. Objects on the way that may be missing are made.
func (c *command) fields(current map[string]any, field string, args []string, onlyText bool) ([]api.PatchOp, error) {
	var ops []api.PatchOp
	made := map[string]bool{}
	for _, arg := range args {
		key, value, err := c.parse(arg, onlyText)
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

// object makes a map out of arguments, for a create body.
func (c *command) object(args []string, onlyText bool) (map[string]any, error) {
	out := map[string]any{}
	for _, arg := range args {
		key, value, err := c.parse(arg, onlyText)
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

// secret is a secret that stands in a file, without the line break behind it; "-" is the standard input.
func (c *command) secret(file string) (string, error) {
	text, err := c.read(file)
	if err != nil {
		return "", err
	}
	if s := strings.TrimRight(string(text), "\r\n"); s != "" {
		return s, nil
	}
	return "", usage("%s is empty", file)
}

// isSecret tells whether a key of driver_info holds a secret, by Ironic's rule.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"password", "token", "secret", "snmp_auth_key", "snmp_priv_key"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// document reads a YAML or JSON file as decoded JSON: objects have texts as keys, numbers are float64.
func (c *command) document(file string) (any, error) {
	content, err := c.read(file)
	if err != nil {
		return nil, err
	}
	var v any
	if err := yaml.Unmarshal(content, &v); err != nil {
		return nil, usage("%s: %v", file, err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, usage("%s can't be written as JSON: %v", file, err)
	}
	var out any
	err = json.Unmarshal(text, &out)
	return out, err
}

// readYAML reads a YAML file as decoded JSON; found is false when there is none.
func readYAML(path string) (doc map[string]any, found bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", path, unwrapped(err))
	}
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return nil, true, fmt.Errorf("%s: %w", path, err)
	}
	return doc, true, nil
}
