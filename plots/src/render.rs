//! A scene as SVG and as PNG, both through plotters' backends.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};

use relgrad_vocabulary::visible;

use crate::error::{Error, Result};
use crate::font::{self, FAMILY, Weight};
use crate::scene::{Align, Place, Rect, Scene, Shape, Text};
use crate::style::PAPER;

/// SVG user units per point: backends take whole units, so this is the precision of a place.
const SVG_UNITS: f64 = 20.0;
/// Pixels across a PNG: 600 a inch at a column's width, 300 at a page's.
const PNG_WIDTH: u32 = 2000;
/// Farthest place that is drawn, in a backend's units; the largest page has ten thousand.
const FARTHEST: f64 = 30_000.0;
/// Most rows of a PNG; the tallest figure, a heat map, has fewer.
const MOST_ROWS: u32 = 10_000;
/// The PNG is drawn this many times larger, then averaged: plotters does not smooth the edges of thick lines.
const OVERSAMPLE: u32 = 2;

/// The scene as a self-contained SVG, `scale` times as large, with `title` for screen readers.
pub(crate) fn svg(scene: &Scene, title: &str, scale: f64) -> Result<String> {
    let size = pixels(scene, SVG_UNITS);
    let mut body = String::new();
    let mut backend = SVGBackend::with_string(&mut body, size);
    let page = PAPER.to_rgba();
    backend.draw_rect((0, 0), (size.0 as i32, size.1 as i32), &page.filled(), true).map_err(render_error)?;
    let mut images = String::new();
    for shape in &scene.shapes {
        match shape {
            Shape::Image { rect, columns, rgb } => images.push_str(&svg_image(rect, *columns, rgb)?),
            shape => draw_svg(&mut backend, shape)?,
        }
    }
    backend.present().map_err(render_error)?;
    drop(backend);
    // Pictures lie below everything but the page: after the first rectangle.
    let page_end = body.match_indices("/>").next().map_or(body.len(), |(at, end)| at + end.len());
    body.insert_str(page_end, &images);
    let after_head = body.find('\n').map_or(0, |end| end + 1);
    // Round joins keep the corners of traces from growing spikes.
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.2}mm\" height=\"{:.2}mm\" viewBox=\"0 0 {} {}\" \
         role=\"img\" stroke-linejoin=\"round\">\n<title>{}</title>\n",
        scale * scene.width / 72.0 * 25.4,
        scale * scene.height / 72.0 * 25.4,
        size.0,
        size.1,
        escaped(title)
    );
    Ok(head + &body[after_head..])
}

/// The scene as a PNG of [`PNG_WIDTH`] pixels across.
///
/// # Errors
/// [`Error::Memory`] where its pixels find no room; [`Error::Render`].
pub(crate) fn png(scene: &Scene) -> Result<Vec<u8>> {
    let scale = f64::from(PNG_WIDTH) / scene.width;
    let height = ((scene.height * scale).ceil() as u32).clamp(1, MOST_ROWS);
    let large = (PNG_WIDTH * OVERSAMPLE, height * OVERSAMPLE);
    let mut pixels = canvas(large.0 as usize * large.1 as usize * 3)?;
    let mut backend = BitMapBackend::with_buffer(&mut pixels, large);
    // Pictures lie below everything else, as in the SVG.
    let (images, others): (Vec<_>, Vec<_>) =
        scene.shapes.iter().partition(|shape| matches!(shape, Shape::Image { .. }));
    for shape in images.into_iter().chain(others) {
        draw_bitmap(&mut backend, shape, scale * f64::from(OVERSAMPLE))?;
    }
    backend.present().map_err(render_error)?;
    drop(backend);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, PNG_WIDTH, height);
    encoder.set_color(png::ColorType::Rgb);
    // Row by row, so that neither the small picture nor its filtered rows are held.
    let mut writer = encoder.write_header().map_err(render_error)?;
    let mut stream = writer.stream_writer().map_err(render_error)?;
    for rows in pixels.chunks(OVERSAMPLE as usize * large.0 as usize * 3) {
        stream.write_all(&averaged(rows, large.0 as usize)).map_err(render_error)?;
    }
    stream.finish().map_err(render_error)?;
    drop(writer);
    Ok(bytes)
}

/// White pixels of an image, and as much memory beside them as drawing takes.
fn canvas(bytes: usize) -> Result<Vec<u8>> {
    let memory = |_| Error::Memory { bytes };
    let mut pixels = Vec::new();
    pixels.try_reserve_exact(bytes).map_err(memory)?;
    crate::require_memory()?;
    pixels.resize(bytes, 0xff);
    Ok(pixels)
}

/// A picture as an element with its pixels inside, as PNG.
fn svg_image(rect: &Rect, columns: usize, rgb: &[u8]) -> Result<String> {
    let rows = rgb.len() / 3 / columns;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(rgb));
    written.map_err(render_error)?;
    let ((x, y), (right, bottom)) =
        (scaled((rect.left, rect.top), SVG_UNITS), scaled((rect.right, rect.bottom), SVG_UNITS));
    Ok(format!(
        "\n<image x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
        right - x,
        bottom - y,
        BASE64.encode(&bytes)
    ))
}

fn draw_svg(backend: &mut SVGBackend<'_>, shape: &Shape) -> Result<()> {
    let units = |place: &Place| scaled(*place, SVG_UNITS);
    match shape {
        Shape::Line { points, color, width } => {
            let style = color.stroke_width((width * SVG_UNITS).round() as u32);
            backend.draw_path(points.iter().map(units), &style).map_err(render_error)
        }
        // Written apart, below everything else.
        Shape::Image { .. } => Ok(()),
        Shape::Text(text) => {
            let size = text.size * SVG_UNITS;
            // The backend puts the baseline 0.76 em below the place it is given, along the text's own vertical.
            let (x, y) = text.at;
            let rise = 0.76 * text.size;
            let at = if text.upwards { (x - rise, y) } else { (x, y - rise) };
            backend.draw_text(&text.content, &svg_style(text, size), units(&at)).map_err(render_error)
        }
        shape => draw_filled(backend, shape, SVG_UNITS),
    }
}

/// Draws an area or a disc, which all backends do alike.
fn draw_filled<B: DrawingBackend>(backend: &mut B, shape: &Shape, scale: f64) -> Result<()> {
    match shape {
        Shape::Area { points, color, opacity } => {
            backend.fill_polygon(points.iter().map(|place| scaled(*place, scale)), &color.mix(*opacity))
        }
        Shape::Disc { center, radius, color } => {
            backend.draw_circle(scaled(*center, scale), (radius * scale).round() as u32, &color.filled(), true)
        }
        Shape::Line { .. } | Shape::Image { .. } | Shape::Text(_) => Ok(()),
    }
    .map_err(render_error)
}

fn svg_style(text: &Text, size: f64) -> TextStyle<'static> {
    // The backend divides the size it is given by this.
    const BACKEND_SIZE: f64 = 1.24;
    let style = match text.weight {
        Weight::Regular => FontStyle::Normal,
        Weight::Bold => FontStyle::Bold,
    };
    let turn = if text.upwards { FontTransform::Rotate270 } else { FontTransform::None };
    let h_pos = match text.align {
        Align::Left => HPos::Left,
        Align::Center => HPos::Center,
        Align::Right => HPos::Right,
    };
    FontDesc::new(FontFamily::Name(FAMILY), size * BACKEND_SIZE, style)
        .transform(turn)
        .color(&text.color)
        .pos(Pos::new(h_pos, VPos::Top))
}

fn draw_bitmap(backend: &mut BitMapBackend<'_>, shape: &Shape, scale: f64) -> Result<()> {
    match shape {
        Shape::Line { points, color, width } => bitmap_line(backend, points, *color, *width, scale),
        Shape::Image { rect, columns, rgb } => bitmap_image(backend, rect, *columns, rgb, scale),
        Shape::Text(text) => bitmap_text(backend, text, scale),
        shape => draw_filled(backend, shape, scale),
    }
}

/// Draws each pixel of a picture as a rectangle. The backend may leave out a rectangle's last row and column, so each
/// reaches into its neighbours, which are drawn over it.
fn bitmap_image(backend: &mut BitMapBackend<'_>, rect: &Rect, columns: usize, rgb: &[u8], scale: f64) -> Result<()> {
    let rows = rgb.len() / 3 / columns;
    let corner = |i: usize, j: usize| {
        let (u, v) = (j as f64 / columns as f64, i as f64 / rows as f64);
        scaled((rect.left + u * rect.width(), rect.top + v * rect.height()), scale)
    };
    for (at, pixel) in rgb.as_chunks::<3>().0.iter().enumerate() {
        let (i, j) = (at / columns, at % columns);
        let (from, to) = (corner(i, j), corner(i + 1, j + 1));
        let color = RGBColor(pixel[0], pixel[1], pixel[2]);
        backend.draw_rect(from, to, &color, true).map_err(render_error)?;
    }
    Ok(())
}

/// Draws each piece of a line as a rectangle and each corner as a disc: plotters' own outline of a thick path leaves
/// holes where a path turns back on itself, as a memory trace does.
fn bitmap_line(
    backend: &mut BitMapBackend<'_>,
    points: &[Place],
    color: RGBColor,
    width: f64,
    scale: f64,
) -> Result<()> {
    let half = width / 2.0;
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        if length == 0.0 {
            continue;
        }
        let (u, v) = (-(y1 - y0) / length * half, (x1 - x0) / length * half);
        let corners = [(x0 + u, y0 + v), (x1 + u, y1 + v), (x1 - u, y1 - v), (x0 - u, y0 - v)];
        let corners: Vec<_> = corners.into_iter().map(|p| scaled(p, scale)).collect();
        backend.fill_polygon(corners, &color).map_err(render_error)?;
    }
    let inner = points.len().saturating_sub(1).max(1);
    for point in &points[1..inner] {
        let radius = (half * scale).floor() as u32;
        backend.draw_circle(scaled(*point, scale), radius, &color.filled(), true).map_err(render_error)?;
    }
    Ok(())
}

fn bitmap_text(backend: &mut BitMapBackend<'_>, text: &Text, scale: f64) -> Result<()> {
    let (_, start) = text.extent();
    let (x, y) = text.at;
    let (x, y) = scaled(if text.upwards { (x, y - start) } else { (x + start, y) }, scale);
    let mut outcome = Ok(());
    font::rasterize(&text.content, text.size * scale, text.weight, |u, v, coverage| {
        let (u, v) = if text.upwards { (v, -u) } else { (u, v) };
        let color = text.color.mix(f64::from(coverage)).to_backend_color();
        if let Err(error) = backend.draw_pixel((x + u, y + v), color) {
            outcome = Err(render_error(error));
        }
    });
    outcome
}

/// The means of all blocks of [`OVERSAMPLE`] by [`OVERSAMPLE`] pixels, three bytes each, of as many rows, `width`
/// pixels wide.
fn averaged(rows: &[u8], width: usize) -> Vec<u8> {
    let (factor, row) = (OVERSAMPLE as usize, width * 3);
    let mut small = Vec::with_capacity(row / factor);
    for x in 0..width / factor {
        for channel in 0..3 {
            let first = x * factor * 3 + channel;
            let block = (0..factor).flat_map(|v| (0..factor).map(move |u| v * row + u * 3));
            let sum: usize = block.map(|at| usize::from(rows[first + at])).sum();
            small.push((sum / (factor * factor)) as u8);
        }
    }
    small
}

fn pixels(scene: &Scene, scale: f64) -> (u32, u32) {
    ((scene.width * scale).ceil() as u32, (scene.height * scale).ceil() as u32)
}

fn scaled((x, y): Place, scale: f64) -> (i32, i32) {
    // Backends walk over every row of a shape, on the page or not.
    let whole = |v: f64| (v * scale).round().clamp(-FARTHEST, FARTHEST) as i32;
    (whole(x), whole(y))
}

fn escaped(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn render_error(error: impl std::fmt::Display) -> Error {
    Error::Render(error.to_string())
}
