package transcode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	posterSide = 1280 // pixels, of the longer side at most
	thumbSide  = 160
	candidates = 8   // for the poster: the first pictures of a storyboard
	mostShots  = 300 // in a storyboard, about
)

// shot is a picture of the video, in files of a work folder.
type shot struct {
	at     time.Duration
	thumb  string
	poster string // none but for the first candidates
}

const (
	keysList = "keys"    // the file that lists the key frames
	thinned  = "thinned" // the file that has nothing but those that are wanted

	singlePattern = "single_%d" // names the files that have one each
)

// shoot has ffmpeg make pictures of the video in folder: of its key frames, so that nothing else is decoded, and of no more
// of them than a storyboard wants. First those are copied to a file of their own, which takes no time worth speaking of:
// a lecture of three hours may have ten thousand. Where they cannot be copied, all key frames are decoded; and where the
// source shows none, its first picture is made.
func (j *job) shoot(ctx context.Context, original string, plan Plan, folder string, seconds float64) ([]shot, error) {
	apart := apart(seconds)
	times, err := j.thin(ctx, original, plan, folder, apart)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		j.log.DebugContext(ctx, "key frames are not copied", "reason", err)
	}
	var shots []shot
	if err == nil && len(times) > 0 {
		shots, err = j.develop(ctx, plan, folder, times)
	}
	var f *failure
	for _, choice := range []choice{keyFrames, firstPicture} {
		if len(shots) > 0 || err != nil && !errors.As(err, &f) {
			break
		}
		if err = j.runShots(ctx, folder, plan.shotArguments(original, j.FFmpegThreads, shooting{choice, apart, true}), plan); err == nil {
			shots, err = readShots(folder)
		}
	}
	if err == nil && len(shots) == 0 {
		err = errors.New("there is no picture to show")
	}
	return shots, err
}

// apart is how many seconds there are from one picture of a storyboard to the next, if there are key frames.
func apart(seconds float64) float64 {
	for _, a := range []float64{2, 5, 10, 15, 20, 30, 60, 120} {
		if seconds <= a*mostShots {
			return a
		}
	}
	return 300
}

// thin copies the wanted key frames to a file of their own, and returns their times in seconds. What an edit list hides comes
// before 0, and is not wanted.
func (j *job) thin(ctx context.Context, original string, plan Plan, folder string, apart float64) (times []float64, err error) {
	err = j.runShots(ctx, folder, plan.keysArguments(original), plan)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(folder, keysList))
	if err != nil {
		return nil, err
	}
	var wanted []int
	for n, at := range keyTimes(string(data)) {
		if at > -0.001 && (len(times) == 0 || at-times[len(times)-1] >= early*apart) {
			wanted, times = append(wanted, n), append(times, at)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	return times, j.runShots(ctx, folder, plan.thinArguments(original, wanted), plan)
}

// keyTimes reads a list of packets of ffmpeg's muxer framecrc: a line each, with the number of its stream, the time at which
// it is to be decoded, and that at which it is to be shown, in the unit that a line in front of them tells.
func keyTimes(list string) (times []float64) {
	var unit Rational
	for line := range strings.Lines(list) {
		if text, found := strings.CutPrefix(line, "#tb 0: "); found {
			unit = parseRational(strings.TrimSpace(text), "/")
		}
		fields := strings.Split(line, ",")
		if line[0] == '#' || len(fields) < 3 {
			continue
		}
		at, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil {
			at = math.MinInt64 // as where the container does not tell
		}
		times = append(times, float64(at)*unit.Float())
	}
	return times
}

// develop decodes the key frames that were copied. In H.264 with open groups of pictures all but the first count from
// pictures that are not there, and a decoder brings them late, or keeps some to itself; then each gets a decoder of its own.
func (j *job) develop(ctx context.Context, plan Plan, folder string, times []float64) ([]shot, error) {
	args := plan.developArguments(filepath.Join(folder, thinned), j.FFmpegThreads, shooting{of: every, posters: true})
	if err := j.runShots(ctx, folder, args, plan); err != nil {
		return nil, err
	}
	shots, err := readShots(folder)
	if err != nil || len(shots) == len(times) {
		return shots, err
	}
	if err := j.runShots(ctx, folder, plan.singleArguments(filepath.Join(folder, thinned)), plan); err != nil {
		return nil, err
	}
	for n := range times {
		single := filepath.Join(folder, fmt.Sprintf(singlePattern, n))
		args := plan.developArguments(single, j.FFmpegThreads, shooting{of: every, posters: n < candidates})
		var f *failure
		if err := j.runShots(ctx, folder, args, plan); err != nil && !errors.As(err, &f) { // else one is missing
			return nil, err
		}
	}
	return readShots(folder)
}

func (j *job) runShots(ctx context.Context, folder string, args []string, plan Plan) error {
	return j.runner().encode(ctx, folder, args, j.limits(plan), func(float64) {})
}

const (
	thumbPrefix  = "thumb_"
	posterPrefix = "poster_"
	shotSuffix   = ".png"
)

// readShots finds what ffmpeg has made, in the order of time. The names say when each is, in milliseconds.
func readShots(folder string) (shots []shot, err error) {
	err = eachFile(folder, func(name string) error {
		number, found := strings.CutPrefix(strings.TrimSuffix(name, shotSuffix), thumbPrefix)
		at, err := strconv.ParseInt(number, 10, 64)
		if !found || err != nil {
			return nil //nolint:nilerr // it is none
		}
		s := shot{at: time.Duration(max(at, 0)) * time.Millisecond, thumb: filepath.Join(folder, name)}
		poster := filepath.Join(folder, posterPrefix+number+shotSuffix)
		if _, err := os.Stat(poster); err == nil {
			s.poster = poster
		}
		shots = append(shots, s)
		return nil
	})
	slices.SortFunc(shots, func(a, b shot) int { return cmp.Compare(a.at, b.at) })
	return shots, err
}
