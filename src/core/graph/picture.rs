//! The topology as SVG: in detail, or as a fleet of which each server is a card or a cell.
//!
//! A destination is a wire: who is on it is threaded on, and who should be and is not stands beyond its end. Looks are classes, which
//! `topology.css` gives colours: a picture that stands alone carries it, a page serves it. There are two layouts, so that nothing has to be
//! moved sideways on a phone.

use std::fmt::Write;

use super::svg::{escape, fit};
use super::topology::{DestinationShape, EndShape, ServerShape, State, Tone};
use crate::core::api::Kind;

/// The looks of a picture.
pub const STYLE: &str = include_str!("topology.css");

/// How wide a picture may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Wide,
    Narrow,
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    pub layout: Layout,
    /// Complete in itself; else part of a page, with links.
    pub alone: bool,
    /// Of one destination, the others being counted.
    pub ends: usize,
    /// Of one server in full; the others are cells.
    pub destinations: usize,
}

/// Cells of one server, or of the fleet.
const CELLS: usize = 1_200;
/// Servers that are cards rather than cells.
pub const CARDS: usize = 60;

const PAD: u32 = 20;
const HEAD: u32 = 54;
const CHIP: u32 = 44;
const PITCH: u32 = 54;
const GAP: u32 = 14;
const CELL: u32 = 24;

/// A server, or a destination, as one of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub name: String,
    pub href: String,
    pub tone: Tone,
    /// Its state in words.
    pub word: &'static str,
    /// What is on it, by tone: bad, unsure, plain, good.
    pub counts: [usize; 4],
}

impl Cell {
    fn says(&self) -> String {
        let [bad, unsure, plain, good] = self.counts;
        let total = bad + unsure + plain + good;
        let mut says = vec![format!("{total} {}", if total == 1 { "destination" } else { "destinations" })];
        says.extend((bad > 0).then(|| format!("{bad} not ready")));
        says.extend((unsure > 0).then(|| format!("{unsure} to look at")));
        says.join(", ")
    }
}

struct Canvas {
    layout: Layout,
    alone: bool,
    width: u32,
    text: String,
}

impl Canvas {
    fn new(layout: Layout, alone: bool) -> Self {
        let width = if layout == Layout::Wide { 1180 } else { 360 };
        Self { layout, alone, width, text: String::new() }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn words(&mut self, x: u32, y: u32, class: &str, content: &str) {
        let _ = writeln!(self.text, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(content));
    }

    /// Begins what belongs together. With a link, it leads there.
    fn open(&mut self, class: &str, href: Option<&str>, label: &str, reached: bool) {
        let label = escape(label);
        let _ = match href.filter(|_| !self.alone) {
            Some(href) => {
                let tab = if reached { "" } else { " tabindex=\"-1\"" };
                let href = escape(href);
                writeln!(self.text, "<a href=\"{href}\" class=\"{class}\"{tab}><title>{label}</title>")
            }
            None if self.alone => writeln!(self.text, "<g class=\"{class}\"><title>{label}</title>"),
            None => {
                writeln!(self.text, "<g class=\"{class}\" role=\"img\"><title>{label}</title>")
            }
        };
    }

    fn close(&mut self, href: Option<&str>) {
        let linked = href.is_some() && !self.alone;
        self.put(if linked { "</a>" } else { "</g>" });
    }

    fn rect(&mut self, class: &str, (x, y, width, height): (u32, u32, u32, u32), rx: u32) {
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{rx}\"/>"
        );
    }

    fn wire(&mut self, class: &str, path: &str) {
        let _ = writeln!(self.text, "<path class=\"wire {class}\" d=\"{path}\"/>");
    }

    fn finish(self, height: u32, summary: &str) -> String {
        let Self { alone, width, text, .. } = self;
        let summary = escape(summary);
        // Beside others, a picture has a ground of its own.
        let (role, space, style, ground) = if alone {
            let ground = "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n";
            let looks = ".tp .ground { fill: #f4f6f8; }\n@media (prefers-color-scheme: dark) { .tp .ground { fill: #0f151b; } }\n";
            ("img", " xmlns=\"http://www.w3.org/2000/svg\"", format!("<style>\n{STYLE}{looks}</style>\n"), ground)
        } else {
            ("group", "", String::new(), "")
        };
        format!(
            "<svg{space} class=\"tp\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"{role}\" aria-label=\"{summary}\">\n{style}{ground}{text}</svg>\n"
        )
    }
}

/// The page of an object.
fn page(key: &crate::core::api::ObjectKey) -> String {
    format!("/objects/{key}")
}

/// The servers with everything on them.
pub fn picture(servers: &[ServerShape], drawn: Drawn) -> String {
    let mut canvas = Canvas::new(drawn.layout, drawn.alone);
    let margin = if drawn.alone { PAD } else { 0 };
    let mut y = margin;
    for server in servers {
        y = panel(&mut canvas, server, drawn, y) + GAP;
    }
    if servers.is_empty() {
        canvas.words(PAD, y + 24, "sub", "Nothing is declared.");
        y += 48;
    }
    let destinations: usize = servers.iter().map(|server| server.destinations.len()).sum();
    let summary = format!(
        "Topology: {} {}, {destinations} {}",
        servers.len(),
        if servers.len() == 1 { "server" } else { "servers" },
        if destinations == 1 { "destination" } else { "destinations" }
    );
    canvas.finish(y - GAP.min(y) + margin, &summary)
}

/// Where things stand in a panel.
struct Columns {
    proxy: (u32, u32),
    destination: (u32, u32),
    chips: u32,
    chip: u32,
    per_row: usize,
}

fn columns(layout: Layout, width: u32, has_proxy: bool) -> Columns {
    match layout {
        Layout::Wide => {
            let destination = if has_proxy { 236 } else { PAD };
            let chips = destination + 250 + 34;
            let per_row = ((width - PAD - chips + GAP) / (202 + GAP)).max(1);
            Columns { proxy: (PAD, 150), destination: (destination, 250), chips, chip: 202, per_row: per_row as usize }
        }
        Layout::Narrow => {
            let destination = if has_proxy { 40 } else { 16 };
            let chips = destination + 26;
            let right = width - 16;
            Columns {
                proxy: (16, right - 16),
                destination: (destination, right - destination),
                chips,
                chip: right - chips,
                per_row: 1,
            }
        }
    }
}

fn panel(canvas: &mut Canvas, server: &ServerShape, drawn: Drawn, top: u32) -> u32 {
    let wide = canvas.layout == Layout::Wide;
    let (left, width) = if canvas.alone { (PAD / 2, canvas.width - PAD) } else { (0, canvas.width) };
    let at = columns(canvas.layout, canvas.width, server.proxy.is_some());
    // Those that need somebody are drawn in full, if not all can be.
    let mut full: Vec<&DestinationShape> = server.destinations.iter().collect();
    let mut cells: Vec<&DestinationShape> = Vec::new();
    if full.len() > drawn.destinations {
        full.sort_by_key(|destination| destination.worst());
        cells = full.split_off(drawn.destinations.saturating_sub(1));
        cells.sort_by_key(|destination| &destination.key);
    }
    // The panel goes below what is in it, and its height is known last.
    let mut body = Canvas { text: String::new(), ..Canvas::new(canvas.layout, canvas.alone) };
    let mut y = top + HEAD + 14;
    let mut proxy_y = y;
    if server.proxy.is_some() && !wide {
        y += PITCH;
    }
    let mut doors = Vec::new();
    for destination in &full {
        let door = y + PITCH / 2;
        if let Some(state) = destination.proxy {
            doors.push((door, state));
        }
        y = lane(&mut body, destination, &at, drawn, y) + 10;
    }
    if server.destinations.is_empty() {
        body.words(at.destination.0, y + 24, "sub", "no destinations");
        y += 44;
    }
    if !cells.is_empty() {
        let left = at.destination.0;
        let room = canvas.width - PAD - left;
        body.words(left, y + 14, "sub", &format!("and {} more", cells.len()));
        y = grid(&mut body, cells.iter().map(|it| cell_of(it)), left, room, y + 22) + 10;
    }
    let bottom = y + 4;
    if let Some(proxy) = &server.proxy {
        if wide {
            let last = doors.last().map_or(proxy_y, |(door, _)| door - PITCH / 2);
            let first = doors.first().map_or(proxy_y, |(door, _)| door - PITCH / 2);
            proxy_y = u32::midpoint(first, last).clamp(top + HEAD + 14, (bottom - PITCH).max(top + HEAD + 14));
        }
        for (door, state) in &doors {
            let class = wire_class(*state, "proxy");
            if wide {
                let (from, to) = (at.proxy.0 + at.proxy.1, at.destination.0);
                let (start, middle) = (proxy_y + PITCH / 2, u32::midpoint(from, to));
                body.wire(class, &format!("M{from} {start}C{middle} {start} {middle} {door} {to} {door}"));
            } else {
                let x = at.proxy.0 + 10;
                let start = proxy_y + PITCH - 5;
                let turn = format!("M{x} {start}V{}Q{x} {door} {} {door}H{}", door - 8, x + 8, at.destination.0);
                body.wire(class, &turn);
            }
        }
        let label = format!("Proxy {}: {}", proxy.name, proxy.state.word());
        let class = format!("is-proxy {}", proxy.state.tone().class());
        body.open(&class, None, &label, true);
        let word = if proxy.state == State::Ready { "proxy" } else { proxy.state.word() };
        chip(&mut body, proxy, Some(word), (at.proxy.0, proxy_y + 5, at.proxy.1));
        body.close(None);
    }
    let class = server.state.tone().class();
    let href = page(&server.key);
    canvas.rect("panel", (left, top, width, bottom - top), 14);
    let label = format!("Server {}: {}. {}", server.key.path(), server.state.word(), server.says);
    canvas.open(class, Some(&href), &label, true);
    canvas.rect("head", (left + 1, top + 1, width - 2, HEAD - 10), 13);
    canvas.rect(&format!("edge {class}"), (left + 14, top + 14, 8, 18), 4);
    let room = width - 120;
    let name = fit(&server.key.path(), room.min(420), 15);
    canvas.words(left + 32, top + 28, "title", &name);
    let sign = format!("{} {}", server.state.tone().sign(), server.state.word());
    canvas.words(left + width - 16, top + 28, "sign", &sign);
    if wide {
        canvas.words(left + 440, top + 28, "sub", &fit(&server.says, width - 600, 11));
    }
    canvas.close(Some(&href));
    canvas.text.push_str(&body.text);
    bottom
}

fn wire_class(state: State, good: &'static str) -> &'static str {
    match state {
        State::Detached | State::Missing => "off",
        State::Unknown => "unsure",
        _ => good,
    }
}

/// A destination and who is on it, or should be.
fn lane(canvas: &mut Canvas, destination: &DestinationShape, at: &Columns, drawn: Drawn, top: u32) -> u32 {
    let wide = canvas.layout == Layout::Wide;
    let mut ends: Vec<&EndShape> = destination.ends.iter().collect();
    let more = ends.len().saturating_sub(drawn.ends);
    if more > 0 {
        ends.sort_by_key(|end| end.state.tone());
        ends.truncate(drawn.ends);
        ends.sort_by_key(|end| !end.state.is_attached());
    }
    let attached = ends.iter().filter(|end| end.state.is_attached()).count();
    let rows = u32::try_from(ends.len().div_ceil(at.per_row)).unwrap_or(u32::MAX);
    let place = |index: usize| {
        let (row, column) = ((index / at.per_row) as u32, (index % at.per_row) as u32);
        let below = if wide { row } else { row + 1 };
        (at.chips + column * (at.chip + GAP), top + below * PITCH)
    };
    // The wire, below what is threaded on it.
    let unseen = ends.iter().all(|end| end.state == State::Unknown);
    let class = if unseen { "unsure" } else { "" };
    let (x, width) = at.destination;
    let middle = top + PITCH / 2;
    if attached > 0 {
        if wide {
            let trunk = x + width + 17;
            let first_row = place(attached.min(at.per_row) - 1);
            canvas.wire(class, &format!("M{} {middle}H{}", x + width, first_row.0 + at.chip / 2));
            for row in 1..=(attached - 1) / at.per_row {
                let end = place(((row + 1) * at.per_row).min(attached) - 1);
                let y = end.1 + PITCH / 2;
                canvas.wire(
                    class,
                    &format!("M{trunk} {middle}V{}Q{trunk} {y} {} {y}H{}", y - 8, trunk + 8, end.0 + at.chip / 2),
                );
            }
        } else {
            let trunk = x + 13;
            for index in 0..attached {
                let y = place(index).1 + PITCH / 2;
                canvas.wire(
                    class,
                    &format!("M{trunk} {}V{}Q{trunk} {y} {} {y}H{}", top + PITCH - 5, y - 8, trunk + 8, at.chips + 10),
                );
            }
        }
    }
    let tone = destination.state.tone();
    let class = tone.class();
    let href = page(&destination.key);
    let network = match destination.subnets.first() {
        Some(subnet) => format!("{} · {subnet}", destination.network),
        None => destination.network.clone(),
    };
    let why = if destination.says.is_empty() { String::new() } else { format!(". {}", destination.says) };
    let label = format!("Destination {}: {}. Network {network}{why}", destination.key.path(), destination.state.word());
    canvas.open(class, Some(&href), &label, true);
    canvas.rect("box", (x, top + 5, width, CHIP), 9);
    canvas.rect(&format!("edge {class}"), (x, top + 12, 4, CHIP - 14), 2);
    canvas.words(x + 14, top + 24, "name", &fit(&destination.key.path(), width - 44, 13));
    let small = match destination.state {
        State::Ready => network,
        state => format!("{} · {network}", state.word()),
    };
    canvas.words(x + 14, top + 39, "sub", &fit(&small, width - 28, 11));
    canvas.words(x + width - 10, top + 25, "sign", tone.sign());
    canvas.close(Some(&href));
    for (index, end) in ends.iter().enumerate() {
        let (x, y) = place(index);
        let href = end.resource.as_ref().map(page);
        let off = if end.state.is_attached() { "" } else { " off" };
        let class = format!("{}{off}", end.state.tone().class());
        let what = match &end.resource {
            Some(resource) => format!("{} {}, container {}", resource.kind, resource.path(), end.name),
            None => format!("Undeclared container {}", end.name),
        };
        let address = if end.address.is_empty() { String::new() } else { format!(", {}", end.address) };
        canvas.open(&class, href.as_deref(), &format!("{what}: {}{address}", end.state.word()), true);
        chip(canvas, end, None, (x, y + 5, at.chip));
        canvas.close(href.as_deref());
    }
    let mut bottom = top + PITCH * if wide { rows.max(1) } else { rows + 1 };
    if more > 0 {
        let label = format!("and {more} more");
        let x = at.chips;
        canvas.open("plain", Some(&href), &format!("{label} on {}", destination.key.path()), true);
        canvas.words(x, bottom + 14, "sub", &label);
        canvas.close(Some(&href));
        bottom += 24;
    }
    bottom
}

fn chip(canvas: &mut Canvas, end: &EndShape, says: Option<&str>, (x, y, width): (u32, u32, u32)) {
    canvas.rect("chip", (x, y, width, CHIP), if says.is_some() { 22 } else { 9 });
    icon(canvas, end, says.is_some(), x + 12, y + 14);
    let room = width - 36 - 26;
    canvas.words(x + 36, y + 19, "name", &fit(&end.name, room, 13));
    let small = says.map_or_else(|| end.says(), str::to_owned);
    canvas.words(x + 36, y + 34, "sub", &fit(&small, width - 44, 11));
    canvas.words(x + width - if says.is_some() { 16 } else { 10 }, y + 20, "sign", end.state.tone().sign());
}

/// What it is, 16 pixels large: shapes, because letters would be read.
fn icon(canvas: &mut Canvas, end: &EndShape, proxy: bool, x: u32, y: u32) {
    let path = match (proxy, end.resource.as_ref().map(|resource| resource.kind)) {
        (true, _) => "M1 8h5M6 8l6-5M6 8l6 5M12 3h3M12 13h3M6 8h9",
        (_, Some(Kind::Database)) => "M2 4c0-3 12-3 12 0v8c0 3-12 3-12 0zM2 4c0 3 12 3 12 0M2 8c0 3 12 3 12 0",
        (_, Some(Kind::Service)) => "M8 1l7 3.5-7 3.5-7-3.5zM1 8l7 3.5L15 8M1 11.5L8 15l7-3.5",
        (_, Some(_)) => "M2 2h12v12H2zM2 6h12M4.5 4h.1M7 4h.1",
        (_, None) => "M8 1l6 3.5v7L8 15l-6-3.5v-7z",
    };
    let _ = writeln!(canvas.text, "<path class=\"icon\" transform=\"translate({x} {y})\" d=\"{path}\"/>");
}

fn cell_of(destination: &DestinationShape) -> Cell {
    Cell {
        name: destination.key.path(),
        href: page(&destination.key),
        tone: destination.worst(),
        word: destination.state.word(),
        counts: [0; 4],
    }
}

/// Cells in rows. One of them is reached by the Tab key, the others from there by the arrow keys.
fn grid(canvas: &mut Canvas, cells: impl ExactSizeIterator<Item = Cell>, left: u32, room: u32, top: u32) -> u32 {
    let count = cells.len();
    let per_row = (room / (CELL + 2)).max(1);
    let mut y = top;
    for (index, cell) in (0..).zip(cells.take(CELLS)) {
        let (row, column) = (index / per_row, index % per_row);
        let x = left + column * (CELL + 2);
        y = top + row * (CELL + 2);
        let says = if cell.counts == [0; 4] { String::new() } else { format!(", {}", cell.says()) };
        canvas.open(cell.tone.class(), Some(&cell.href), &format!("{}: {}{says}", cell.name, cell.word), index == 0);
        canvas.rect("cell", (x, y, CELL, CELL), 5);
        canvas.words(x + CELL / 2, y + 16, "mark", cell.tone.sign());
        canvas.close(Some(&cell.href));
    }
    y += CELL + 2;
    if count > CELLS {
        canvas.words(left, y + 14, "sub", &format!("and {} more", count - CELLS));
        y += 22;
    }
    y
}

/// A whole fleet: groups of servers, each a card, or a cell where there are many.
pub fn fleet(groups: &[(String, Vec<Cell>)], layout: Layout, alone: bool) -> String {
    let mut canvas = Canvas::new(layout, alone);
    let total: usize = groups.iter().map(|(_, cells)| cells.len()).sum();
    let mut y = 0;
    let bad: Vec<&Cell> = groups.iter().flat_map(|(_, cells)| cells).filter(|cell| cell.tone == Tone::Bad).collect();
    if total > CARDS && !bad.is_empty() {
        canvas.words(2, y + 16, "group", &format!("Not ready: {}", bad.len()));
        let shown: Vec<&Cell> = bad.iter().copied().take(if layout == Layout::Wide { 10 } else { 4 }).collect();
        y = cards(&mut canvas, &shown, y + 26) + 14;
    }
    for (name, cells) in groups {
        let servers = if cells.len() == 1 { "server" } else { "servers" };
        canvas.words(2, y + 16, "group", &format!("{name} · {} {servers}", cells.len()));
        y += 26;
        y = if total > CARDS {
            let room = canvas.width;
            grid(&mut canvas, cells.iter().cloned(), 0, room, y)
        } else {
            cards(&mut canvas, &cells.iter().collect::<Vec<_>>(), y)
        };
        y += 14;
    }
    canvas.finish(y.max(40), &format!("Fleet of {total} servers"))
}

fn cards(canvas: &mut Canvas, cells: &[&Cell], top: u32) -> u32 {
    const HEIGHT: u32 = 74;
    let (per_row, gap) = if canvas.layout == Layout::Wide { (5, 14) } else { (2, 10) };
    let width = (canvas.width - (per_row - 1) * gap) / per_row;
    let mut bottom = top;
    for (index, cell) in (0..).zip(cells) {
        let (x, y) = (index % per_row * (width + gap), top + index / per_row * (HEIGHT + gap));
        let class = cell.tone.class();
        let says = cell.says();
        canvas.open(class, Some(&cell.href), &format!("Server {}: {}, {says}", cell.name, cell.word), true);
        canvas.rect("panel", (x + 1, y + 1, width - 2, HEIGHT - 2), 11);
        let name = cell.name.rsplit_once('/').map_or(cell.name.as_str(), |(_, name)| name);
        canvas.words(x + 14, y + 25, "name", &fit(name, width - 46, 13));
        canvas.words(x + width - 12, y + 25, "sign", cell.tone.sign());
        canvas.words(x + 14, y + 43, "sub", &fit(&says, width - 28, 11));
        // How they are, in proportion; none of them vanishes.
        let total = cell.counts.iter().sum::<usize>().max(1) as u32;
        let room = width - 28;
        let mut from = x + 14;
        for (tone, count) in [Tone::Bad, Tone::Unsure, Tone::Plain, Tone::Good].into_iter().zip(cell.counts) {
            if count == 0 {
                continue;
            }
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let length = (u64::from(room) * u64::from(count) / u64::from(total)) as u32;
            let length = length.clamp(5, room).min((x + 14 + room).saturating_sub(from));
            canvas.rect(&format!("edge {}", tone.class()), (from, y + 54, length.saturating_sub(2), 6), 3);
            from += length;
        }
        canvas.close(Some(&cell.href));
        bottom = y + HEIGHT + gap;
    }
    bottom
}
