//! Draws digits and what augmentation makes of them: affine, elastic, both. Prints SVG.
//!
//! `cargo run --release -p net --example distortions > docs/src/distortions.svg`

use layers::random::Key;
use ndarray::{ArrayView2, Axis};
use net::augment::{Affine, Augment, Distort, Elastic, Image};

/// Digits in a row: the original, and then one for each epoch.
const COLUMNS: usize = 9;
/// Pixels from one digit to the next.
const STEP: usize = 30;
/// Shades of ink.
const SHADES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = mnist_io::Mnist::sample()?;
    let affine = Affine { shift: 2.0, rotation: 12.0, scale: 0.12, shear: 8.0 };
    let elastic = Elastic { sigma: 4.0, alpha: 34.0 };
    let rows = [
        Distort::new().affine(affine),
        Distort::new().elastic(elastic),
        Distort::new().affine(affine).elastic(elastic),
    ];
    let mut paths = vec![String::new(); SHADES];
    for ((row, distort), digit) in rows.iter().enumerate().zip(data.train.images.outer_iter()) {
        let pixels = digit.mapv(|byte| f32::from(byte) / 255.0).insert_axis(Axis(0));
        let image = Image { pixels: pixels.view(), background: &[0.0] };
        draw(pixels.index_axis(Axis(0), 0), [row, 0], &mut paths);
        for column in 1..COLUMNS {
            let changed = distort.changed(image, Key::new(0), column as u64 - 1, row as u64);
            draw(changed.index_axis(Axis(0), 0), [row, column], &mut paths);
        }
    }
    let (width, height) = (COLUMNS * STEP, rows.len() * STEP);
    println!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{}">"#, 3 * width);
    println!(r##"<rect width="{width}" height="{height}" fill="#fff"/>"##);
    for (shade, path) in paths.iter().enumerate() {
        let opacity = (shade + 1) as f64 / SHADES as f64;
        println!(r##"<path stroke="#000" stroke-opacity="{opacity}" d="{path}"/>"##);
    }
    println!("</svg>");
    Ok(())
}

/// Adds a digit's pixels to the paths of their shades, as strokes along rows.
fn draw(digit: ArrayView2<'_, f32>, place: [usize; 2], paths: &mut [String]) {
    let shade = |value: f32| (value * SHADES as f32).round() as usize;
    for (i, line) in digit.outer_iter().enumerate() {
        let mut left = 0;
        while left < line.len() {
            let run = line.iter().skip(left).take_while(|&&value| shade(value) == shade(line[left])).count();
            if let Some(path) = shade(line[left]).checked_sub(1) {
                let (x, y) = (place[1] * STEP + left + 1, place[0] * STEP + i + 1);
                paths[path].push_str(&format!("M{x} {y}.5h{run}"));
            }
            left += run;
        }
    }
}
