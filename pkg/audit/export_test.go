package audit

// AppendLine writes the line of an entry.
var AppendLine = appendLine

// WithParts returns a configuration with parts of another size.
func (c LedgerConfig) WithParts(size int) LedgerConfig {
	c.partSize = size
	return c
}
