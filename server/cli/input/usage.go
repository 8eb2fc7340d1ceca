package input

import (
	"fmt"
)

// UsageError is a mistake in the command line that cobra does not see.
type UsageError struct{ text string }

func (e UsageError) Error() string { return e.text }

// Usage makes such a mistake.
func Usage(format string, args ...any) error { return UsageError{fmt.Sprintf(format, args...)} }
