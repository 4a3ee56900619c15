package upload

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	blockSize = 768 << 10 // one write to the disk, where a piece is that long
	blocks    = 4         // on their way between the client and the disk, per upload
	alignment = 4096      // of writes that bypass the page cache: a multiple of every disk's own
	writeback = 8 << 20   // bytes after which the system is told to begin writing out its page cache
)

// dataFile is the file of an upload, open for writing. Whole blocks go to the disk past the page cache, where the system
// can do that: they would only push out of it what is being streamed, and copying into it costs more than the disk does.
// The ends of a piece go through the page cache, and so does the first block, which finalize will look at.
type dataFile struct {
	*os.File          // through the page cache
	direct   *os.File // past it; nil where that cannot be done
	begun    int64    // up to where the system has been told to write out
}

func openData(path string) (*dataFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &dataFile{File: f, direct: openDirect(path)}, nil
}

func (f *dataFile) Close() error {
	if f.direct == nil {
		return f.File.Close()
	}
	return errors.Join(f.direct.Close(), f.File.Close())
}

// WriteAt writes b at an offset and returns how much of it was written.
func (f *dataFile) WriteAt(b []byte, offset int64) (n int, err error) {
	if f.direct != nil && offset > 0 && offset%alignment == 0 && len(b)%alignment == 0 && aligned(b) {
		n, err = f.direct.WriteAt(b, offset)
		if !errors.Is(err, syscall.EINVAL) {
			return n, err
		}
		// This file system does not do it after all, or not for the rest of a write that was cut short.
		err = f.direct.Close()
		f.direct = nil
		if err != nil {
			return n, err
		}
	}
	m, err := f.File.WriteAt(b[n:], offset+int64(n))
	if end := offset + int64(n+m); end-f.begun >= writeback {
		startWriteback(f.File, f.begun, end-f.begun)
		f.begun = end
	}
	return n + m, err
}

// readBlocks reads src to its end into blocks. The first one ends where a block of the file does, so that the next ones
// are whole. It stops early when whoever takes them has failed.
func readBlocks(src io.Reader, start, rest int64, full chan<- []byte, empty <-chan []byte, failed <-chan struct{}) error {
	want := blockSize - start%blockSize
	for {
		var b []byte
		select {
		case b = <-empty:
		case <-failed:
			return nil
		}
		if b == nil {
			b = newBlock(min(blockSize, rest+1)) // a short piece needs no whole block
		}
		b = b[:min(want, int64(cap(b)))]
		n, err := io.ReadFull(src, b)
		if n > 0 {
			full <- b[:n]
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		want = blockSize
	}
}
