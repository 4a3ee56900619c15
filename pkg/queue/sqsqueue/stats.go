package sqsqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/queue"
)

// Stats returns how much there is, about. SQS does not tell those that are worked on from those that wait for their next
// try: Active counts both. Nor does it tell how old they are, other than in CloudWatch. Dead letters that both queues have in
// common are counted with the first.
func (q *Queue) Stats(ctx context.Context) ([]queue.Stats, error) {
	var all []queue.Stats
	counted := make(map[string]bool)
	for _, l := range q.lanes {
		s := queue.Stats{Queue: l.name, Retry: queue.Unknown, Archived: queue.Unknown, Oldest: queue.Unknown}
		p, err := l.lookUpPolicy(ctx)
		if err == nil {
			s.Pending, s.Active, err = q.count(ctx, l.url)
		}
		if err == nil && p.dead != "" && !counted[p.dead] {
			s.Archived, _, err = q.count(ctx, p.dead)
			counted[p.dead] = true
		}
		if err != nil {
			return nil, queue.Unavailable(fmt.Errorf("count %s: %w", l.name, err))
		}
		all = append(all, s)
	}
	return all, nil
}

// count returns how many messages of a queue can be received, and how many are hidden.
func (q *Queue) count(ctx context.Context, url string) (visible, hidden int, err error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names})
	if err != nil {
		return 0, 0, err
	}
	visible, err = strconv.Atoi(out.Attributes[string(names[0])])
	hidden, hiddenErr := strconv.Atoi(out.Attributes[string(names[1])])
	return visible, hidden, errors.Join(err, hiddenErr)
}
