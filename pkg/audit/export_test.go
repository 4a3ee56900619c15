package audit

// AppendLine writes the line of an entry.
var AppendLine = appendLine

// WithParts returns a configuration with parts of another size.
func (c LedgerConfig) WithParts(size int) LedgerConfig {
	c.partSize = size
	return c
}

// EncodeEvent returns an event as it stands in a line.
func EncodeEvent(e Event) ([]byte, error) {
	var w eventWriter
	err := w.write(&e)
	return w.bytes(), err
}
