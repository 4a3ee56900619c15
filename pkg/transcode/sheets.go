package transcode

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/media"
	"pulsevault/pkg/storyboard"
)

const (
	sheetColumns, sheetRows     = 5, 5
	posterQuality, thumbQuality = 85, 75 // of JPEG, out of 100
)

// compose makes the poster, the sheets and the storyboard of the pictures in a folder. A picture is shown from its own time
// to that of the next one, the first from the start and the last to the end.
func (j *job) compose(folder string, shots []shot, seconds float64) (p preview, err error) {
	end := max(time.Duration(math.Round(seconds*1000))*time.Millisecond, time.Millisecond)
	shots[0].at = 0
	shots = slices.DeleteFunc(shots, func(s shot) bool { return s.at >= end })
	if p.poster, err = poster(shots); err != nil {
		return p, fmt.Errorf("make poster: %w", err)
	}
	var cues []storyboard.Cue
	p.sheets = map[string]string{}
	for part := range slices.Chunk(shots, sheetColumns*sheetRows) {
		name := media.SheetName(len(p.sheets), j.attempt)
		places, err := sheet(part, filepath.Join(folder, name))
		if err != nil {
			return p, fmt.Errorf("make %s: %w", name, err)
		}
		p.sheets[j.key(name)] = filepath.Join(folder, name)
		for i, place := range places {
			if n := len(cues); n > 0 {
				cues[n-1].To = part[i].at
			}
			cues = append(cues, storyboard.Cue{From: part[i].at, To: end, URI: name, X: place.Min.X, Y: place.Min.Y, Width: place.Dx(), Height: place.Dy()})
		}
	}
	p.storyboard, err = storyboard.Marshal(cues)
	return p, err
}

// sheet puts pictures side by side into a file, which is on disk then, and tells where each is.
func sheet(shots []shot, path string) (places []image.Rectangle, err error) {
	var canvas *image.RGBA
	var size image.Point
	for i, s := range shots {
		thumb, err := readPNG(s.thumb)
		if err != nil {
			return nil, err
		}
		if canvas == nil {
			size = thumb.Bounds().Size()
			canvas = image.NewRGBA(image.Rect(0, 0, size.X*min(len(shots), sheetColumns), size.Y*((len(shots)-1)/sheetColumns+1)))
		}
		corner := image.Pt(i%sheetColumns*size.X, i/sheetColumns*size.Y)
		place := image.Rectangle{Min: corner, Max: corner.Add(size)}
		draw.Draw(canvas, place, thumb, thumb.Bounds().Min, draw.Src)
		places = append(places, place)
	}
	data, err := encodeJPEG(canvas, thumbQuality)
	if err == nil {
		err = durable.WriteFile(path, data, durable.FileMode)
	}
	return places, err
}

// poster chooses a picture that is not black, and not nearly empty, if there is one: the first with nearly as much to be
// seen in it as in any.
func poster(shots []shot) ([]byte, error) {
	const nearly = 0.75
	var chosen string
	var much []float64
	for _, s := range shots {
		if s.poster == "" {
			break
		}
		thumb, err := readPNG(s.thumb)
		if err != nil {
			return nil, err
		}
		much = append(much, detail(thumb))
	}
	for i, d := range much {
		if d >= nearly*slices.Max(much) {
			chosen = shots[i].poster
			break
		}
	}
	picture, err := readPNG(chosen)
	if err != nil {
		return nil, err
	}
	return encodeJPEG(picture, posterQuality)
}

// detail is how much there is to be seen in a picture: the entropy of its brightness, in bits. It is 0 for one that is all
// black, or all of one colour, little for a fade or the noise of a dark room, and about 5 of the 6 there can be for others.
func detail(picture image.Image) (bits float64) {
	var levels [64]int
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			levels[(299*r+587*g+114*b)/1000>>10]++
		}
	}
	whole := float64(bounds.Dx() * bounds.Dy())
	for _, n := range levels {
		if n > 0 {
			bits -= float64(n) / whole * math.Log2(float64(n)/whole)
		}
	}
	return bits
}

func readPNG(path string) (image.Image, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return png.Decode(bytes.NewReader(data))
}

func encodeJPEG(picture image.Image, quality int) ([]byte, error) {
	var b bytes.Buffer
	err := jpeg.Encode(&b, picture, &jpeg.Options{Quality: quality})
	return b.Bytes(), err
}
