package finalize

// Sniff is what tells a file's type.
var Sniff = sniff
