// Function videos: see pkg/app for its routes.
package main

import "pulsevault/pkg/app"

func main() { app.StartHTTP(app.Videos) }
