//! A scene as a PDF of one page: vectors, and text that stays text in the embedded font.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, LineCapStyle, LineJoinStyle, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use plotters::style::RGBColor;

use relgrad_vocabulary::visible;

use crate::error::{Error, Result};
use crate::font::{Face, Weight};
use crate::scene::{Place, Scene, Shape, Text};
use crate::style::PAPER;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENTS: Ref = Ref::new(4);
const INFORMATION: Ref = Ref::new(5);
/// Each font takes five numbers from its own on; pictures come behind.
const FONTS: [(Weight, Ref, Name<'static>); 2] =
    [(Weight::Regular, Ref::new(10), Name(b"F0")), (Weight::Bold, Ref::new(15), Name(b"F1"))];
const FIRST_PICTURE: i32 = 20;

const IDENTITY: Name<'static> = Name(b"Identity-H");
const UNICODE: SystemInfo<'static> = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"UCS"), supplement: 0 };
const NO_ORDER: SystemInfo<'static> = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// The scene as a PDF whose page is `scale` times as large, with `title` in its properties. The same scene gives the
/// same bytes: the file has no date.
///
/// # Errors
/// [`Error::Render`] where the compression fails.
pub(crate) fn pdf(scene: &Scene, title: &str, scale: f64) -> Result<Vec<u8>> {
    let mut pdf = Pdf::new();
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([PAGE]).count(1);
    pdf.document_info(INFORMATION).title(TextStr(&visible(title)));
    let opacities = opacities(scene);
    let pictures: Vec<&Shape> = scene.shapes.iter().filter(|shape| matches!(shape, Shape::Image { .. })).collect();
    let mut page = pdf.page(PAGE);
    page.parent(PAGES).contents(CONTENTS);
    page.media_box(Rect::new(0.0, 0.0, (scale * scene.width) as f32, (scale * scene.height) as f32));
    let mut resources = page.resources();
    let mut fonts = resources.fonts();
    for (_, id, name) in FONTS {
        fonts.pair(name, id);
    }
    fonts.finish();
    let mut states = resources.ext_g_states();
    for (i, opacity) in opacities.iter().enumerate() {
        states
            .insert(Name(&state_name(i)))
            .start::<pdf_writer::writers::ExtGraphicsState>()
            .non_stroking_alpha(*opacity);
    }
    states.finish();
    let mut objects = resources.x_objects();
    for i in 0..pictures.len() {
        objects.pair(Name(&picture_name(i)), picture_id(i));
    }
    objects.finish();
    resources.finish();
    page.finish();
    for (weight, id, _) in FONTS {
        embed(&mut pdf, Face::of(weight), id)?;
    }
    for (i, picture) in pictures.iter().enumerate() {
        let Shape::Image { columns, rgb, .. } = picture else { continue };
        let pixels = compressed(rgb)?;
        let mut object = pdf.image_xobject(picture_id(i), &pixels);
        object.filter(Filter::FlateDecode);
        object.width(*columns as i32).height((rgb.len() / 3 / columns) as i32);
        object.bits_per_component(8).color_space().device_rgb();
    }
    let contents = compressed(&contents(scene, scale, &opacities))?;
    pdf.stream(CONTENTS, &contents).filter(Filter::FlateDecode);
    Ok(pdf.finish())
}

/// The different opacities of the areas of a scene.
fn opacities(scene: &Scene) -> Vec<f32> {
    let areas = scene.shapes.iter().filter_map(|shape| match shape {
        Shape::Area { opacity, .. } => Some(*opacity as f32),
        _ => None,
    });
    let mut opacities: Vec<f32> = areas.collect();
    opacities.sort_by(f32::total_cmp);
    opacities.dedup();
    opacities
}

fn state_name(i: usize) -> Vec<u8> {
    format!("G{i}").into_bytes()
}

fn picture_name(i: usize) -> Vec<u8> {
    format!("P{i}").into_bytes()
}

fn picture_id(i: usize) -> Ref {
    Ref::new(FIRST_PICTURE + i as i32)
}

/// What draws the scene, with y downwards as the scene has it.
fn contents(scene: &Scene, scale: f64, opacities: &[f32]) -> Vec<u8> {
    let mut content = Content::new();
    let (s, height) = (scale as f32, (scale * scene.height) as f32);
    content.transform([s, 0.0, 0.0, -s, 0.0, height]);
    content.set_line_join(LineJoinStyle::RoundJoin).set_line_cap(LineCapStyle::ButtCap);
    fill(&mut content, PAPER).rect(0.0, 0.0, scene.width as f32, scene.height as f32).fill_nonzero();
    // Pictures lie below everything else, as in the other formats.
    let mut picture = 0;
    for shape in &scene.shapes {
        if let Shape::Image { rect, .. } = shape {
            let [left, bottom, width, height] = [rect.left, rect.bottom, rect.width(), rect.height()].map(|v| v as f32);
            content.save_state().transform([width, 0.0, 0.0, -height, left, bottom]);
            content.x_object(Name(&picture_name(picture))).restore_state();
            picture += 1;
        }
    }
    for shape in &scene.shapes {
        match shape {
            Shape::Line { points, color, width } => {
                let [r, g, b] = parts(*color);
                content.set_stroke_rgb(r, g, b).set_line_width(*width as f32);
                path(&mut content, points);
                content.stroke();
            }
            Shape::Area { points, color, opacity } => {
                let state = opacities.iter().position(|known| *known == *opacity as f32).unwrap_or(0);
                content.save_state().set_parameters(Name(&state_name(state)));
                fill(&mut content, *color);
                path(&mut content, points);
                content.fill_nonzero().restore_state();
            }
            Shape::Disc { center, radius, color } => disc(fill(&mut content, *color), *center, *radius),
            Shape::Image { .. } => {}
            Shape::Text(text) => write(&mut content, text),
        }
    }
    content.finish().into_vec()
}

fn parts(RGBColor(r, g, b): RGBColor) -> [f32; 3] {
    [r, g, b].map(|part| f32::from(part) / 255.0)
}

fn fill(content: &mut Content, color: RGBColor) -> &mut Content {
    let [r, g, b] = parts(color);
    content.set_fill_rgb(r, g, b)
}

fn path(content: &mut Content, points: &[Place]) {
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            content.move_to(x as f32, y as f32)
        } else {
            content.line_to(x as f32, y as f32)
        };
    }
}

/// A disc of four Bézier curves, which leave the circle by 0.03 % of its radius.
fn disc(content: &mut Content, (x, y): Place, radius: f64) {
    const ARM: f64 = 0.552_284_75;
    let at = |u: f64, v: f64| ((x + radius * u) as f32, (y + radius * v) as f32);
    content.move_to(at(1.0, 0.0).0, at(1.0, 0.0).1);
    for (u, v) in [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)] {
        // A quarter turn takes (u, v) to (−v, u).
        let (first, second, end) = (at(u - ARM * v, v + ARM * u), at(ARM * u - v, ARM * v + u), at(-v, u));
        content.cubic_to(first.0, first.1, second.0, second.1, end.0, end.1);
    }
    content.fill_nonzero();
}

fn write(content: &mut Content, text: &Text) {
    let (face, (_, _, name)) = (Face::of(text.weight), FONTS[usize::from(text.weight == Weight::Bold)]);
    let ((_, start), (x, y)) = (text.extent(), text.at);
    let matrix = if text.upwards {
        [0.0, -1.0, -1.0, 0.0, x as f32, (y - start) as f32]
    } else {
        [1.0, 0.0, 0.0, -1.0, (x + start) as f32, y as f32]
    };
    let glyphs: Vec<u8> = text.content.chars().flat_map(|c| face.glyph(c).to_be_bytes()).collect();
    fill(content, text.color).begin_text().set_font(name, text.size as f32).set_text_matrix(matrix);
    content.show(Str(&glyphs)).end_text();
}

/// Writes a font: the glyphs by their numbers, the file itself, and the characters that the glyphs stand for, so that
/// text can be searched and copied.
fn embed(pdf: &mut Pdf, face: Face, id: Ref) -> Result<()> {
    let [cid, descriptor, unicode, file] = [1, 2, 3, 4].map(|i| Ref::new(id.get() + i));
    let name = Name(face.name.as_bytes());
    pdf.type0_font(id).base_font(name).encoding_predefined(IDENTITY).descendant_font(cid).to_unicode(unicode);
    let mut font = pdf.cid_font(cid);
    font.subtype(CidFontType::Type2).base_font(name).system_info(NO_ORDER).font_descriptor(descriptor);
    font.cid_to_gid_map_predefined(Name(b"Identity"));
    font.widths().consecutive(0, face.advances());
    font.finish();
    let [low, high] = [-236.0, 928.0];
    let mut described = pdf.font_descriptor(descriptor);
    described.name(name).flags(FontFlags::NON_SYMBOLIC).bbox(Rect::new(-1021.0, -463.0, 1793.0, 1232.0));
    described.italic_angle(0.0).ascent(high).descent(low).cap_height(729.0).stem_v(80.0).font_file2(file);
    described.finish();
    let mut characters = UnicodeCmap::<u16>::new(Name(b"Unicode"), UNICODE);
    face.characters().into_iter().for_each(|(glyph, character)| characters.pair(glyph, character));
    pdf.cmap(unicode, characters.finish().as_slice());
    let bytes = compressed(face.file)?;
    pdf.stream(file, &bytes).filter(Filter::FlateDecode).pair(Name(b"Length1"), face.file.len() as i32);
    Ok(())
}

fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map_err(|cause| Error::Render(cause.to_string()))
}
