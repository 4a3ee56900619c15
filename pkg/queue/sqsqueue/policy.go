package sqsqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/queue"
)

// policy is what a queue's redrive policy means for us.
type policy struct {
	tries int    // how often a task is tried
	dead  string // URL of the dead-letter queue, "" if there is none
}

// lookUpPolicy asks SQS for the redrive policy, until it has answered once.
func (l *lane) lookUpPolicy(ctx context.Context) (policy, error) {
	l.mu.Lock()
	known := l.policy
	l.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	out, err := l.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &l.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return policy{}, err
	}
	p, err := l.readPolicy(ctx, out.Attributes[string(types.QueueAttributeNameRedrivePolicy)])
	if err != nil {
		return policy{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.policy = &p
	return p, nil
}

// readPolicy reads a policy such as {"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:123456789012:x.fifo","maxReceiveCount":10}.
func (l *lane) readPolicy(ctx context.Context, text string) (policy, error) {
	if text == "" {
		return policy{tries: queue.MaxTries}, nil
	}
	var redrive struct {
		DeadLetterTargetArn string
		MaxReceiveCount     json.Number // SQS gives back a string where it was set as one
	}
	if err := json.Unmarshal([]byte(text), &redrive); err != nil {
		return policy{}, fmt.Errorf("redrive policy %s: %w", text, err)
	}
	most, err := redrive.MaxReceiveCount.Int64()
	parts := strings.Split(redrive.DeadLetterTargetArn, ":")
	if err != nil || len(parts) != 6 {
		return policy{}, fmt.Errorf("redrive policy %s is not understood", text)
	}
	dead, err := l.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &parts[5], QueueOwnerAWSAccountId: &parts[4]})
	if err != nil {
		return policy{}, fmt.Errorf("find the dead-letter queue %s: %w", parts[5], err)
	}
	// The last receive is for abandoning the task.
	return policy{tries: max(1, min(queue.MaxTries, int(most)-1)), dead: aws.ToString(dead.QueueUrl)}, nil
}

// warn tells of a policy with which less can be promised.
func (p policy) warn(url string, log *slog.Logger) {
	if p.dead == "" {
		log.Warn("the SQS queue has no dead-letter queue: tasks that cannot succeed are removed; give it a redrive policy", "url", url)
	} else if p.tries < queue.MaxTries {
		log.Warn("the SQS queue's redrive policy leaves fewer tries than usual; set maxReceiveCount to 5 or more", "url", url, "tries", p.tries)
	}
}
