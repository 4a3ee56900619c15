package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"pulsevault/pkg/hls"
)

type hlsCommands struct {
	Lint lintCommand `cmd:"" help:"Check a published video rule by rule; the exit status is 1 if one fails."`
}

type lintCommand struct {
	Place string `arg:"" help:"The URL of a master playlist, such as a signed link, or a folder that holds one."`
	JSON  bool   `name:"json" help:"Print the results as JSON."`
}

// Run checks a video and prints what it found.
func (l lintCommand) Run(ctx context.Context) error {
	source, err := hls.NewSource(l.Place)
	if err != nil {
		return err
	}
	report, err := hls.Lint(ctx, source)
	if err != nil {
		return err
	}
	if err := l.print(report); err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("the video is not as it should be")
	}
	return nil
}

func (l lintCommand) print(report hls.Report) error {
	if !l.JSON {
		_, err := report.WriteTo(os.Stdout)
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	return out.Encode(struct {
		Place   string       `json:"place"`
		OK      bool         `json:"ok"`
		Results []hls.Result `json:"results"`
	}{report.Place, report.OK(), report.Results})
}
