//! SVG with a layout of its own, so that a picture needs no other tool.
//!
//! Three columns: proxies, destinations, members. A server is a panel around the first two. Every member stands beside its destination, so the
//! lines between those never cross; lines run only in the gaps between columns, so no line ever runs through a box.
//!
//! By hand: a layout for any graph lets lines cross boxes, and knows neither servers nor columns; to write SVG takes `write!`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{DestinationNode, Graph, MemberNode, ServerNode, shorten};
use crate::core::api::{Kind, ObjectKey};

const MARGIN: u32 = 24;
const PADDING: u32 = 16;
/// Title and endpoint of a server.
const HEADER: u32 = 50;
const BOX_HEIGHT: u32 = 42;
const BOX_GAP: u32 = 10;
const PANEL_GAP: u32 = 20;
const PROXY_WIDTH: u32 = 150;
const PROXY_GAP: u32 = 64;
const DESTINATION_WIDTH: u32 = 250;
const MEMBER_GAP: u32 = 130;
const MEMBER_WIDTH: u32 = 250;
const LEGEND_HEIGHT: u32 = 24;

const INK: &str = "#1f2937";
const FAINT: &str = "#5b6676";
const LINE: &str = "#475569";
const PROXY_LINE: &str = "#b45309";
const ADDITIONAL_LINE: &str = "#0891b2";

/// The graph as an SVG document on a light background.
pub fn svg(graph: &Graph) -> String {
    Drawing::new(graph).render()
}

struct Drawing<'a> {
    graph: &'a Graph,
    /// Left edges of the columns.
    proxies: u32,
    destinations: u32,
    members: u32,
    /// Lines go below the boxes.
    lines: String,
    boxes: String,
    panels: String,
    /// Where the right side of a destination is.
    anchors: BTreeMap<&'a ObjectKey, (u32, u32)>,
}

impl<'a> Drawing<'a> {
    fn new(graph: &'a Graph) -> Self {
        let proxies = MARGIN + PADDING;
        let any_proxy = graph.servers.iter().any(|server| server.proxy.is_some());
        let destinations = if any_proxy { proxies + PROXY_WIDTH + PROXY_GAP } else { proxies };
        Self {
            graph,
            proxies,
            destinations,
            members: destinations + DESTINATION_WIDTH + MEMBER_GAP,
            lines: String::new(),
            boxes: String::new(),
            panels: String::new(),
            anchors: BTreeMap::new(),
        }
    }

    fn render(mut self) -> String {
        let graph = self.graph;
        let mut y = MARGIN;
        let mut placed: Vec<(&MemberNode, u32)> = Vec::new();
        for server in &graph.servers {
            y = self.server(server, y, &mut placed) + PANEL_GAP;
        }
        if graph.servers.is_empty() {
            let _ = writeln!(self.boxes, "{}", text(MARGIN, y + 16, 13, FAINT, "", "nothing is declared"));
            y += 40;
        }
        for (member, top) in placed {
            self.member(member, top);
        }
        let legend = self.legend(y + 4);
        let width = self.members + MEMBER_WIDTH + MARGIN;
        let height = y + 4 + LEGEND_HEIGHT + MARGIN / 2;
        let summary = format!(
            "{} servers, {} destinations, {} members",
            graph.servers.len(),
            graph.servers.iter().map(|server| server.destinations.len()).sum::<usize>(),
            graph.members.len()
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-label=\"{summary}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}{}{}{legend}</svg>\n",
            self.panels, self.lines, self.boxes
        )
    }

    /// Draws one server from `top`; its members are placed and drawn later, when all destinations have their place.
    fn server(&mut self, server: &'a ServerNode, top: u32, placed: &mut Vec<(&'a MemberNode, u32)>) -> u32 {
        let mut y = top + HEADER;
        let mut doors = Vec::new();
        for destination in &server.destinations {
            let members: Vec<&MemberNode> =
                self.graph.members.iter().filter(|member| member.destination == destination.key).collect();
            let rows = u32::try_from(members.len()).unwrap_or(u32::MAX).max(1);
            let band = rows * BOX_HEIGHT + (rows - 1) * BOX_GAP;
            for (row, member) in (0..).zip(members) {
                placed.push((member, y + row * (BOX_HEIGHT + BOX_GAP)));
            }
            let box_top = y + (band - BOX_HEIGHT) / 2;
            self.destination(destination, box_top);
            let middle = box_top + BOX_HEIGHT / 2;
            self.anchors.insert(&destination.key, (self.destinations + DESTINATION_WIDTH, middle));
            if destination.proxied {
                doors.push(middle);
            }
            y += band + BOX_GAP;
        }
        if server.destinations.is_empty() {
            let _ = writeln!(self.boxes, "{}", text(self.destinations, y + 25, 12, FAINT, "", "no destinations"));
            y += BOX_HEIGHT + BOX_GAP;
        }
        let bottom = y - BOX_GAP + PADDING;
        if let Some(proxy) = &server.proxy {
            let box_top = top + HEADER + (bottom - PADDING - top - HEADER - BOX_HEIGHT) / 2;
            let middle = box_top + BOX_HEIGHT / 2;
            for door in doors {
                self.line((self.proxies + PROXY_WIDTH, middle), (self.destinations, door), PROXY_LINE, "", "");
            }
            let look = Look { fill: "#fef3c7", stroke: PROXY_LINE, ink: INK, dashed: false };
            let title = format!("proxy {proxy} of {}", server.key);
            let rect = Rect { x: self.proxies, y: box_top, width: PROXY_WIDTH, rx: 20 };
            self.labelled(&rect, &look, "proxy", proxy, &title);
        }
        let right = self.destinations + DESTINATION_WIDTH + PADDING;
        let _ = writeln!(
            self.panels,
            "<g><title>{}</title><rect x=\"{MARGIN}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#f8fafc\" stroke=\"#cbd5e1\"/>",
            escape(&format!("{} ({})", server.key, server.subtitle())),
            right - MARGIN,
            bottom - top,
        );
        let width = right - MARGIN - 2 * PADDING;
        let _ = writeln!(
            self.panels,
            "{}",
            text(self.proxies, top + 22, 14, INK, "600", &fit(&server.key.path(), width, 14))
        );
        let _ = writeln!(
            self.panels,
            "{}</g>",
            text(self.proxies, top + 38, 11, FAINT, "", &fit(&server.subtitle(), width, 11))
        );
        bottom
    }

    fn destination(&mut self, destination: &DestinationNode, top: u32) {
        let look = match destination.remark() {
            Some(_) => Look { fill: "#f1f5f9", stroke: "#94a3b8", ink: FAINT, dashed: false },
            None => Look { fill: "#ffffff", stroke: LINE, ink: INK, dashed: false },
        };
        let rect = Rect { x: self.destinations, y: top, width: DESTINATION_WIDTH, rx: 5 };
        self.labelled(&rect, &look, &destination.subtitle(), &destination.key.path(), &destination.title());
    }

    fn member(&mut self, member: &MemberNode, top: u32) {
        let here = (self.members, top + BOX_HEIGHT / 2);
        let dashes = if member.isolated { "5 4" } else { "" };
        if let Some(anchor) = self.anchors.get(&member.destination).copied() {
            self.line(anchor, here, LINE, dashes, "");
        }
        for key in &member.additional {
            if let Some(anchor) = self.anchors.get(key).copied() {
                self.line(
                    anchor,
                    here,
                    ADDITIONAL_LINE,
                    dashes,
                    &format!("{} is an additional destination of {}", key, member.key),
                );
            }
        }
        let (fill, stroke) = colours(member.key.kind);
        let fill = if member.isolated { "#ffffff" } else { fill };
        let look = Look { fill, stroke, ink: INK, dashed: member.isolated };
        let rect = Rect { x: self.members, y: top, width: MEMBER_WIDTH, rx: 12 };
        let kind = if member.isolated { "Service, on its own network" } else { member.key.kind.as_str() };
        self.labelled(&rect, &look, kind, &member.key.path(), &member.title());
    }

    /// A box with a name and a smaller line below it.
    fn labelled(&mut self, rect: &Rect, look: &Look, small: &str, name: &str, title: &str) {
        let Rect { x, y, width, rx } = *rect;
        let dashes = if look.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let room = width - 24;
        let _ = writeln!(
            self.boxes,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"{rx}\" fill=\"{}\" stroke=\"{}\"{dashes}/>\n{}\n{}</g>",
            escape(title),
            look.fill,
            look.stroke,
            text(x + 12, y + 18, 13, look.ink, "500", &fit(name, room, 13)),
            text(x + 12, y + 33, 11, FAINT, "", &fit(small, room, 11)),
        );
    }

    fn line(&mut self, from: (u32, u32), to: (u32, u32), colour: &str, dashes: &str, title: &str) {
        let middle = u32::midpoint(from.0, to.0);
        let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escape(title)) };
        let _ = writeln!(
            self.lines,
            "<path d=\"M{} {} C{middle} {} {middle} {} {} {}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}>{title}</path>",
            from.0, from.1, from.1, to.1, to.0, to.1
        );
    }

    /// Only what occurs is explained.
    fn legend(&self, top: u32) -> String {
        let members = &self.graph.members;
        let mut entries: Vec<(&str, &str, &str)> = Vec::new();
        if self.graph.servers.iter().any(|server| server.destinations.iter().any(|destination| destination.proxied)) {
            entries.push((PROXY_LINE, "", "proxy"));
        }
        if members.iter().any(|member| !member.isolated) {
            entries.push((LINE, "", "member"));
        }
        if members.iter().any(|member| !member.additional.is_empty()) {
            entries.push((ADDITIONAL_LINE, "", "additional destination"));
        }
        if members.iter().any(|member| member.isolated) {
            entries.push((LINE, "5 4", "belongs here, keeps to its own network"));
        }
        let mut legend = String::new();
        let mut x = MARGIN;
        for (colour, dashes, words) in entries {
            let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
            let _ = writeln!(
                legend,
                "<path d=\"M{x} {} h30\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}/>\n{}",
                top + 8,
                text(x + 38, top + 12, 11, FAINT, "", words)
            );
            x += 38 + estimate(words, 11) + 24;
        }
        legend
    }
}

struct Rect {
    x: u32,
    y: u32,
    width: u32,
    rx: u32,
}

struct Look {
    fill: &'static str,
    stroke: &'static str,
    ink: &'static str,
    dashed: bool,
}

fn colours(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Database => ("#dcfce7", "#15803d"),
        Kind::Service => ("#ede9fe", "#6d28d9"),
        Kind::Application | Kind::Server | Kind::Destination | Kind::Notifier => ("#dbeafe", "#1d4ed8"),
    }
}

fn text(x: u32, y: u32, size: u32, colour: &str, weight: &str, content: &str) -> String {
    let weight = if weight.is_empty() { String::new() } else { format!(" font-weight=\"{weight}\"") };
    format!("<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\"{weight}>{}</text>", escape(content))
}

/// Width of a text in pixels, on the wide side: which font will be there is not known.
fn estimate(content: &str, size: u32) -> u32 {
    let tenths: u32 = content.chars().map(tenths_of_em).sum();
    (tenths * size).div_ceil(10)
}

fn tenths_of_em(character: char) -> u32 {
    match character {
        'i' | 'l' | 'j' | 't' | 'f' | 'r' | '.' | ',' | ':' | '/' | ' ' | '-' => 4,
        'm' | 'w' | 'M' | 'W' => 10,
        _ if character.is_ascii_uppercase() => 8,
        _ if character.is_ascii() => 7,
        _ => 11,
    }
}

/// As much of a text as fits.
pub(super) fn fit(content: &str, width: u32, size: u32) -> String {
    let budget = width * 10 / size;
    let mut used = 0;
    let fitting = content
        .chars()
        .take_while(|character| {
            used += tenths_of_em(*character);
            used <= budget
        })
        .count();
    shorten(content, fitting.max(2))
}

pub(super) fn escape(content: &str) -> String {
    let mut escaped = String::new();
    for character in content.chars() {
        match super::printable(character) {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
