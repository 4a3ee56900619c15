// Function audit puts the events of an SQS event into the audit log.
package main

import "pulsevault/pkg/app"

func main() { app.StartAudit() }
