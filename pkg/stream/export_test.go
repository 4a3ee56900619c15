package stream

// ServeContent is what answers ranges and conditions.
var ServeContent = serveContent
