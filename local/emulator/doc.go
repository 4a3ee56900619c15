// Package emulator hosts the compiled functions on this machine as AWS does: each is a child process behind the Lambda
// Runtime API, an API Gateway (REST) in front turns HTTP into events and back, and a queue and a schedule call the rest.
// What functions there are, their timeouts and memory, and what calls them is read from the SAM template.
//
// A process works on one invocation at a time. It is started when it is needed, kept for the next one, and stopped when
// nobody has needed it for a while. One that crashes, or takes too long or too much memory, is gone, and the next
// invocation gets another. After each invocation a line is printed as Lambda prints it:
//
//	REPORT RequestId: 0199…	Duration: 1.70 ms	Billed Duration: 32 ms	Memory Size: 256 MB	Max Memory Used: 21 MB	Init Duration: 29.61 ms
//
// The formats are those of AWS's documentation: "Using the Lambda runtime API for custom runtimes", "Set up Lambda proxy
// integrations in API Gateway", "Using Lambda with Amazon SQS".
package emulator
