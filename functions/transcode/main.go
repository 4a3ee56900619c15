// Function transcode carries out the tasks of an SQS event.
package main

import "pulsevault/pkg/app"

func main() { app.StartTasks() }
