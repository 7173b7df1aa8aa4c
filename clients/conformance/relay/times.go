package relay

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	jotsmithv1 "github.com/jotsmith/jotsmith/proto/jotsmith/v1"
)

// rewrite changes the times of an answer that holds a token, as Last and Shift say.
// The token itself stays as it was signed.
func (r *Relay) rewrite(method string, message []byte) ([]byte, error) {
	r.mu.Lock()
	schedule, shift := r.schedule, r.shift
	r.mu.Unlock()
	if schedule == nil && shift == 0 {
		return message, nil
	}
	switch method {
	case "MintToken":
		answer := &jotsmithv1.MintTokenResponse{}
		return rewritten(answer, message, func() { change(answer, schedule, shift) })
	case "WatchToken":
		answer := &jotsmithv1.WatchTokenResponse{}
		return rewritten(answer, message, func() { change(answer.GetToken(), schedule, shift) })
	}
	return message, nil
}

// rewritten is a message after a change.
func rewritten(into proto.Message, message []byte, change func()) ([]byte, error) {
	if err := proto.Unmarshal(message, into); err != nil {
		return nil, err
	}
	change()
	return proto.Marshal(into)
}

func change(token *jotsmithv1.MintTokenResponse, schedule *Schedule, shift time.Duration) {
	if schedule != nil && token.GetRefreshTime() != nil {
		token.RefreshTime = timestamppb.New(token.GetAnswerTime().AsTime().Add(schedule.Refresh))
		token.ExpireTime = timestamppb.New(token.GetAnswerTime().AsTime().Add(schedule.Expire))
	}
	for _, at := range []**timestamppb.Timestamp{&token.IssueTime, &token.ExpireTime, &token.RefreshTime, &token.AnswerTime} {
		if *at != nil {
			*at = timestamppb.New((*at).AsTime().Add(shift))
		}
	}
}
