// Plot draws the bench's ratios as bars, with their targets, into NAME.svg and
// NAME.png:
//
//	go run . NAME <BARS
//
// BARS is JSON, {"title", "unit", "bars": [{"name", "value", "spread", "target"}]}; a
// target of 0 is none. Run by cmd/internal/bench with -write. It is a module of its own,
// so that the program's has no drawing in it.
package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// figure is what is drawn.
type figure struct {
	Title, Unit string
	Bars        []bar
}

// bar is one line of it.
type bar struct {
	Name                  string
	Value, Spread, Target float64
}

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: plot NAME <BARS")
	}
	var f figure
	if err := json.NewDecoder(in).Decode(&f); err != nil {
		return err
	}
	p, err := f.plot()
	if err != nil {
		return err
	}
	for _, kind := range []string{".svg", ".png"} {
		if err := p.Save(24*vg.Centimeter, vg.Length(len(f.Bars)+4)*0.62*vg.Centimeter, args[0]+kind); err != nil {
			return err
		}
	}
	return nil
}

var (
	met    = color.RGBA{0x3b, 0x7d, 0x4f, 0xff}
	missed = color.RGBA{0xb8, 0x56, 0x2e, 0xff}
	plain  = color.RGBA{0x7a, 0x86, 0x93, 0xff}
	dark   = color.RGBA{0x22, 0x22, 0x22, 0xff}
)

func (f figure) plot() (*plot.Plot, error) {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = f.Title
	p.X.Label.Text = f.Unit
	p.X.Min, p.X.Max = 0, 0
	for _, b := range f.Bars { // and room for the legend
		p.X.Max = max(p.X.Max, 1.4*(b.Value+b.Spread))
	}
	names := make([]string, len(f.Bars))
	for i := range f.Bars {
		// The first is on top.
		at, b := float64(len(f.Bars)-1-i), f.Bars[i]
		names[len(f.Bars)-1-i] = b.Name
		one, err := plotter.NewBarChart(plotter.Values{b.Value}, 0.36*vg.Centimeter)
		if err != nil {
			return nil, err
		}
		one.Horizontal, one.XMin, one.Color, one.LineStyle.Width = true, at, plain, 0
		if b.Target > 0 {
			one.Color = missed
			if b.Value <= b.Target {
				one.Color = met
			}
		}
		p.Add(one)
		if err := f.marks(p, b, at); err != nil {
			return nil, err
		}
	}
	p.NominalY(names...)
	p.X.Tick.Marker = halves{}
	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	p.Add(grid)
	p.Legend.Top, p.Legend.XOffs = false, -0.2*vg.Centimeter
	for _, entry := range []struct {
		name string
		c    color.Color
	}{{"target met", met}, {"target missed", missed}, {"for comparison", plain}} {
		p.Legend.Add(entry.name, swatch{entry.c})
	}
	return p, nil
}

// halves are ticks at each half of a unit.
type halves struct{}

// Ticks returns those between two values.
func (halves) Ticks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for at := 0.0; at <= most; at += 0.5 {
		if at >= least {
			ticks = append(ticks, plot.Tick{Value: at, Label: strconv.FormatFloat(at, 'f', 1, 64)})
		}
	}
	return ticks
}

// marks draws how far the samples spread, and the target.
func (f figure) marks(p *plot.Plot, b bar, at float64) error {
	spread, err := plotter.NewLine(plotter.XYs{{X: max(b.Value-b.Spread, 0), Y: at}, {X: b.Value + b.Spread, Y: at}})
	if err != nil {
		return err
	}
	spread.Color, spread.Width = dark, 0.8*vg.Millimeter/2
	p.Add(spread)
	if b.Target == 0 {
		return nil
	}
	target, err := plotter.NewLine(plotter.XYs{{X: b.Target, Y: at - 0.42}, {X: b.Target, Y: at + 0.42}})
	if err != nil {
		return err
	}
	target.Color, target.Width = dark, 0.7*vg.Millimeter
	p.Add(target)
	return nil
}

// swatch is a colour in the legend.
type swatch struct{ color.Color }

// Thumbnail draws it.
func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.Color, []vg.Point{{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y}})
}
