package media

import (
	"context"
	"io"
	"io/fs"
	"time"

	"pulsevault/pkg/vault"
)

// Store keeps bytes under keys: a Dir or a Bucket. Any number of goroutines and processes may use the same one; package
// mediatest holds the test of what both promise. A key with no bytes is fs.ErrNotExist wherever bytes are wanted. A store
// that cannot be reached is an error of the kind vault.Unavailable.
type Store interface {
	// Open opens the bytes under key for reading.
	Open(ctx context.Context, key string) (Object, error)
	// Stat returns what Stat of an Object does: the size of the bytes under key, and when they were written.
	Stat(ctx context.Context, key string) (fs.FileInfo, error)
	// Read returns all bytes under key, and the version that they are.
	Read(ctx context.Context, key string) (data []byte, version string, err error)
	// Stamp returns the version that Read would return.
	Stamp(ctx context.Context, key string) (version string, err error)
	// Write replaces the bytes under key if they are still those of ifVersion: None says that there must be none, Any
	// leaves it open. If they are not, nothing is written and the error is of the kind vault.Conflict. Readers see the old
	// bytes or the new ones, whole, and the new ones are durable when Write returns their version. In a Dir, whoever cares
	// about the version of a video's key holds the video's Lock meanwhile.
	Write(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error)
	// Import makes local files, which must be on disk, the bytes under keys: files maps keys to paths. All are durable when
	// it returns. The files may be gone then; in a Dir that is always so, and costs the same for any size.
	Import(ctx context.Context, files map[string]string) error
	// List returns the keys that begin with prefix and have no further slash, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
	// Delete removes keys. It is no error that there was nothing.
	Delete(ctx context.Context, keys ...string) error
	// Lock keeps everybody else from changing a video whose files are there, until unlock. A Bucket locks nothing: there,
	// whatever two may write at once is written under its version.
	Lock(ctx context.Context, id vault.VideoID) (unlock func(), err error)
}

// Archive keeps videos as wholes: a Dir or a Bucket. Every call may be repeated, and finds then what an earlier one has left.
type Archive interface {
	// VideoIDs returns the videos of which anything is kept, sorted, which is oldest first.
	VideoIDs(ctx context.Context) ([]vault.VideoID, error)
	// HideVideo takes a video's record away, and in a Dir all that is kept for the video, at once: when it returns, nobody
	// opens any of that by its key. It waits for whoever holds the video's Lock, and is durable.
	HideVideo(ctx context.Context, id vault.VideoID) error
	// RemoveVideo removes all bytes of a video that is hidden, work in progress too. It is durable.
	RemoveVideo(ctx context.Context, id vault.VideoID) error
}

// Workshop is where programs that want files work on media: a Dir or a Bucket.
type Workshop interface {
	// Local returns a file with the bytes under key, to be read until release.
	Local(ctx context.Context, key string) (path string, release func(), err error)
	// Scratch returns a folder for work on a video, to be made by whoever uses it. What stands beside it in its parent with
	// a name that begins with a dot is work on the same video.
	Scratch(id vault.VideoID, name string) (path string, err error)
}

// Linker is a store whose objects can be fetched from it by anybody who has a link.
type Linker interface {
	// Link returns an absolute URL of the bytes under key that is good until a time, as far as the store can promise.
	Link(ctx context.Context, key string, until time.Time) (string, error)
}

// What Write may be told instead of a version.
const (
	None = ""  // there must be no bytes under the key
	Any  = "*" // whatever is there
)

// Object is open media: a seekable reader that knows its size and modification time. One from a Dir is also an io.ReaderAt
// and has an *os.File in it, so that it can be sent without passing through memory.
type Object interface {
	fs.File
	io.Seeker
}

func errChanged() *vault.Error {
	return vault.Errorf(vault.Conflict, "changed_meanwhile", "it was changed by somebody else at the same time; try again")
}
