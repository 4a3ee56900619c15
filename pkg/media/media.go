// Package media keeps bytes under keys. A key is a slash-separated path that is the same in a directory and in a bucket:
//
//	videos/{videoId}/original.mp4   the bytes as they came, whatever the container
//	videos/{videoId}/meta.json      owned by package metadata
//	videos/{videoId}/hls/{name}     owned by package transcode: master.m3u8 240p.m3u8 240p_000.ts …
//	uploads/ open/ tails/           in a bucket only, owned by package upload
//	audit/                          in a bucket only, owned by package audit
//	auth/keys.json                  owned by package auth
//	pending/{videoId}               marker: this video still wants work; it holds the id of the upload it comes from
//	pending/deletions/{videoId}     owned by package videos: this video is to be removed, or has been lately
//
// Names that begin with a dot are work in progress and are never media.
package media

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"pulsevault/pkg/vault"
)

// MasterPlaylist is the name, under hls/, of the playlist that a player opens. It is the last file to be published.
const MasterPlaylist = "master.m3u8"

// VideoKey is the prefix of everything kept for a video.
func VideoKey(id vault.VideoID) string { return "videos/" + string(id) }

// OriginalKey is where the bytes of an upload end up.
func OriginalKey(id vault.VideoID) string { return VideoKey(id) + "/original.mp4" }

// MetaKey is where a video's record is.
func MetaKey(id vault.VideoID) string { return VideoKey(id) + "/meta.json" }

// HLSKey is where a published playlist or segment is.
func HLSKey(id vault.VideoID, name string) string { return VideoKey(id) + "/hls/" + name }

// PlaylistName is the name, under hls/, of a rendition's playlist, in the first generation or a later one: what is
// published keeps its name, and the name its bytes.
func PlaylistName(rendition string, generation int) string {
	if generation > 1 {
		return fmt.Sprintf("%s.g%d.m3u8", rendition, generation)
	}
	return rendition + ".m3u8"
}

// RenditionName is the name of the rendition that a playlist is of.
func RenditionName(playlist string) string { return generationForm.ReplaceAllString(playlist, "") }

var generationForm = regexp.MustCompile(`(\.g[0-9]+)?\.m3u8$`)

// What shows a video before it plays: a picture of it, and the WebVTT file that leads to its sheets of small pictures. The
// latter is written last, so where it is there, all are.
const (
	Poster     = "poster.jpg"
	Storyboard = "storyboard.vtt"
)

// SheetName is the name of a sheet of small pictures, counted from 0, in the first generation or a later one.
func SheetName(number, generation int) string {
	if generation > 1 {
		return fmt.Sprintf("storyboard.g%d_%03d.jpg", generation, number)
	}
	return fmt.Sprintf("storyboard_%03d.jpg", number)
}

// IsSheet reports whether a key is that of a sheet.
func IsSheet(key string) bool { return sheetForm.MatchString(key) }

var sheetForm = regexp.MustCompile(`/storyboard(\.g[0-9]+)?_[0-9]{3,}\.jpg$`)

// KeysKey is where the hashes of API keys are.
const KeysKey = "auth/keys.json"

// PendingKey is the marker of a video that still wants work.
func PendingKey(id vault.VideoID) string { return "pending/" + string(id) }

// DeletionPrefix begins the keys of what says that a video is to be removed, or has been lately.
const DeletionPrefix = "pending/deletions/"

// DeletionKey is what says so of one video.
func DeletionKey(id vault.VideoID) string { return DeletionPrefix + string(id) }

// CacheControl is what whoever fetches a published file is told. A published name is never used again for other bytes, so a
// player may keep them for as long as it likes; nobody else may keep them at all.
const CacheControl = "private, max-age=86400, immutable"

// contentTypes of what is published, by ending. The original's is in its record.
var contentTypes = map[string]string{
	".m3u8": "application/vnd.apple.mpegurl",
	".ts":   "video/mp2t",
	".mp4":  "video/mp4",
	".jpg":  "image/jpeg",
	".vtt":  "text/vtt; charset=utf-8",
}

// ContentType returns the media type of what is published under a name; "" for any other.
func ContentType(name string) string { return contentTypes[path.Ext(name)] }

// maxParts is how many folders and names a path may have.
const maxParts = 8

// ValidPath reports whether path may name media of a video: it stays inside the video's folder, is written in the
// characters that every host and client passes on unchanged, and is neither a record nor work in progress. It is asked for
// every request.
func ValidPath(path string) bool {
	before := byte('/')
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '~', c == '-':
		case c == '.' && before != '/' && before != '.':
		case c == '/' && before != '/':
		default:
			return false
		}
		before = c
	}
	// Some systems make no difference between META.JSON and meta.json, and have names that are devices.
	return before != '/' && strings.Count(path, "/") < maxParts && !strings.EqualFold(path, "meta.json") && filepath.IsLocal(path)
}
