package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Hints is a checked set of root device hints, all of which a disk must meet. An empty set is met by every disk.
type Hints []Hint

// Hint compares one value of a disk: Op is an operator of Ironic's grammar ("s==", ">=", "<in>", ...) or "" for plain
// equality, Args what it compares with, lower case.
type Hint struct {
	Name string
	Op   string
	Args []string
}

// kind says how a hint's value is compared.
type kind int

const (
	text kind = iota
	number
	boolean
)

var hintKinds = map[string]kind{
	"name": text, "model": text, "vendor": text, "hctl": text, "by_path": text, "tran": text, "serial": text,
	"wwn": text, "wwn_with_extension": text, "wwn_vendor_extension": text, "size": number, "rotational": boolean,
}

// Longer operators stand before their prefixes.
var (
	textOps   = []string{"s==", "s!=", "s<=", "s>=", "s<", "s>", "<in>", "<or>", "<all-in>"}
	numberOps = []string{"==", "!=", "<=", ">=", "<or>", "<range-in>", "<", ">", "="}
)

// Bounds of hints from an API: no real hint comes near (safety.md I25).
const (
	maxHintText = 1024
	maxSkip     = 256
)

// ParseHints checks hints as they come from JSON. Every problem is told at once, in one request.invalid fault.
func ParseHints(hints map[string]any) (Hints, error) {
	var out Hints
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(hints)) {
		h, err := parseHint(name, hints[name])
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		out = append(out, h)
	}
	if len(bad) > 0 {
		return nil, fault.New(fault.RequestInvalid, "root device hints: %s", strings.Join(bad, "; ")).
			WithHint("hints are %s", strings.Join(slices.Sorted(maps.Keys(hintKinds)), ", "))
	}
	return out, nil
}

func parseHint(name string, value any) (Hint, error) {
	k, ok := hintKinds[name]
	if !ok {
		return Hint{}, fmt.Errorf("hint %.64q is not known", name)
	}
	switch k {
	case boolean:
		b, err := truth(value)
		return Hint{Name: name, Args: []string{strconv.FormatBool(b)}}, wrapHint(name, err)
	case number:
		op, args, err := numberHint(value)
		return Hint{name, op, args}, wrapHint(name, err)
	}
	s, ok := value.(string)
	if !ok {
		return Hint{}, fmt.Errorf("hint %q must be a string, not %T", name, value)
	}
	op, args, err := textHint(s)
	return Hint{name, op, args}, wrapHint(name, err)
}

func wrapHint(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("hint %q %w", name, err)
}

func textHint(s string) (op string, args []string, err error) {
	if len(s) > maxHintText {
		return "", nil, fmt.Errorf("is longer than %d bytes", maxHintText)
	}
	op, rest := operator(strings.ToLower(strings.TrimSpace(s)), textOps)
	switch op {
	case "<or>":
		args = split(rest)
	case "<all-in>":
		args = strings.Fields(rest)
	default:
		if rest != "" {
			args = []string{rest}
		}
		if o, _ := operator(rest, numberOps); op == "" && o != "" {
			return "", nil, fmt.Errorf("is text, and %s compares numbers; text operators are %s", o, strings.Join(textOps, " "))
		}
	}
	if len(args) == 0 {
		return "", nil, fmt.Errorf("has no value in %q", s)
	}
	return op, args, nil
}

func numberHint(value any) (op string, args []string, err error) {
	var s string
	switch v := value.(type) {
	case string:
		s = v
	case int:
		s = strconv.Itoa(v)
	case int64:
		s = strconv.FormatInt(v, 10)
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return "", nil, fmt.Errorf("must be a whole number, not %v", v)
		}
		s = strconv.FormatInt(int64(v), 10)
	default:
		return "", nil, fmt.Errorf("must be a number or an expression, not %T", value)
	}
	if len(s) > maxHintText {
		return "", nil, fmt.Errorf("is longer than %d bytes", maxHintText)
	}
	op, rest := operator(strings.ToLower(strings.TrimSpace(s)), numberOps)
	switch op {
	case "=": // Ironic's historic spelling
		op, args = ">=", []string{rest}
	case "<or>":
		args = split(rest)
	case "<range-in>":
		if args, err = interval(rest); err != nil {
			return "", nil, err
		}
	default:
		args = []string{rest}
	}
	digits := args
	if op == "<range-in>" {
		digits = args[1:3]
	}
	for i, a := range digits {
		n, err := strconv.ParseUint(a, 10, 53)
		if err != nil || n == 0 {
			return "", nil, fmt.Errorf("must compare with positive whole numbers, not %q", a)
		}
		digits[i] = strconv.FormatUint(n, 10)
	}
	if len(digits) == 0 {
		return "", nil, fmt.Errorf("has no value in %q", s)
	}
	return op, args, nil
}

// interval cuts "[ 10 20 )" into its opening bracket, both bounds and its closing bracket.
func interval(s string) ([]string, error) {
	for _, b := range "[]()" {
		s = strings.ReplaceAll(s, string(b), " "+string(b)+" ")
	}
	f := strings.Fields(s)
	if len(f) != 4 || f[0] != "[" && f[0] != "(" || f[3] != "]" && f[3] != ")" {
		return nil, fmt.Errorf("must have the form <range-in> [ 10 20 ], with ( or ) where the bound is not included")
	}
	return f, nil
}

func operator(s string, ops []string) (op, rest string) {
	for _, o := range ops {
		if after, ok := strings.CutPrefix(s, o); ok {
			return o, strings.TrimSpace(after)
		}
	}
	return "", s
}

func split(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, "<or>") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func truth(value any) (bool, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "1", "t", "true", "on", "y", "yes":
			return true, nil
		case "0", "f", "false", "off", "n", "no":
			return false, nil
		}
		return false, fmt.Errorf("must be true or false, not %.64q", v)
	}
	return false, fmt.Errorf("must be true or false, not %T", value)
}

// Map gives the hints back in the form that ParseHints reads.
func (hs Hints) Map() map[string]any {
	out := map[string]any{}
	for _, h := range hs {
		out[h.Name] = h.expr()
	}
	return out
}

func (h Hint) expr() string {
	switch h.Op {
	case "":
		return h.Args[0]
	case "<or>":
		return "<or> " + strings.Join(h.Args, " <or> ")
	}
	return h.Op + " " + strings.Join(h.Args, " ")
}

// String is for people: serial=s1, size=>= 100.
func (hs Hints) String() string {
	parts := make([]string, len(hs))
	for i, h := range hs {
		parts[i] = h.Name + "=" + h.expr()
	}
	return strings.Join(parts, ", ")
}

// Match tells whether the disk meets every hint.
func (hs Hints) Match(d Disk) bool {
	return !slices.ContainsFunc(hs, func(h Hint) bool { return !h.match(d) })
}

func (h Hint) match(d Disk) bool {
	switch hintKinds[h.Name] {
	case number:
		return h.matchNumber(float64(d.Size) / (1 << 30))
	case boolean:
		return h.Args[0] == strconv.FormatBool(d.Rotational)
	}
	values := spellings(h.Name, d)
	if h.Name == "wwn" {
		for _, w := range d.OtherWWNs {
			values = append(values, spellings(h.Name, Disk{WWN: w})...)
		}
	}
	if len(values) == 0 { // what is not known never matches, not even "s!="
		return false
	}
	if h.Op == "s!=" {
		return !slices.Contains(values, h.Args[0])
	}
	return slices.ContainsFunc(values, h.matchText)
}

func (h Hint) matchText(v string) bool {
	arg := h.Args[0]
	switch h.Op {
	case "", "s==":
		return v == arg
	case "s<":
		return v < arg
	case "s<=":
		return v <= arg
	case "s>":
		return v > arg
	case "s>=":
		return v >= arg
	case "<in>":
		return strings.Contains(v, arg)
	case "<or>":
		return slices.Contains(h.Args, v)
	case "<all-in>":
		words := strings.Fields(v)
		return !slices.ContainsFunc(h.Args, func(a string) bool { return !slices.Contains(words, a) })
	}
	return false
}

func (h Hint) matchNumber(v float64) bool {
	arg := func(i int) float64 { f, _ := strconv.ParseFloat(h.Args[i], 64); return f }
	switch h.Op {
	case "", "==":
		return v == arg(0)
	case "!=":
		return v != arg(0)
	case "<":
		return v < arg(0)
	case "<=":
		return v <= arg(0)
	case ">":
		return v > arg(0)
	case ">=":
		return v >= arg(0)
	case "<or>":
		for i := range h.Args {
			if v == arg(i) {
				return true
			}
		}
	case "<range-in>":
		low, high := cmp.Compare(v, arg(1)), cmp.Compare(v, arg(2))
		return (low > 0 || low == 0 && h.Args[0] == "[") && (high < 0 || high == 0 && h.Args[3] == "]")
	}
	return false
}

// spellings lists the values of a disk that a text hint may equal, lower case, without empty ones. A WWN is written
// in several ways by the tools operators copy it from: naa.5000…, eui.0025…, 0x5000…, 5000….
func spellings(name string, d Disk) []string {
	var v string
	switch name {
	case "name":
		v = d.Name
	case "model":
		v = d.Model
	case "vendor":
		v = d.Vendor
	case "hctl":
		v = d.HCTL
	case "by_path":
		v = d.ByPath
	case "tran":
		v = d.Tran
	case "serial":
		v = d.Serial
	case "wwn":
		v = d.WWN
	case "wwn_with_extension":
		v = d.WWNWithExtension
	case "wwn_vendor_extension":
		v = d.WWNVendorExtension
	}
	v = strings.ToLower(strings.TrimSpace(v))
	if v == "" {
		return nil
	}
	out := []string{v}
	if strings.HasPrefix(name, "wwn") {
		core := v
		for _, p := range []string{"naa.", "eui.", "uuid.", "0x"} {
			core = strings.TrimPrefix(core, p)
		}
		if core != "" {
			out = append(out, core, "0x"+core)
		}
	}
	return out
}
