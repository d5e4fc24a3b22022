//! Text → roff, as man(7) describes it.

/// Text that a formatter shows as it is.
pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    // A line of text is no request.
    let protected = text.lines().map(|line| match line.as_bytes().first() {
        Some(b'.' | b'\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    });
    protected.collect::<Vec<_>>().join("\n")
}

/// A page that is being written.
pub(crate) struct Page {
    text: String,
    /// A section has just begun.
    fresh: bool,
}

impl Page {
    /// Begins one.
    pub(crate) fn new(name: &str, section: u8, summary: &str) -> Self {
        let title = escaped(&name.to_uppercase());
        let version = env!("CARGO_PKG_VERSION");
        let mut page = Self {
            text: format!(
                ".\\\" Made by cargo run --example manual.\n.TH {title} {section} \"\" \"stdbox {version}\" \"stdbox\"\n"
            ),
            fresh: false,
        };
        page.section("Name");
        page.line(&format!("{} \\- {}", escaped(name), escaped(summary)));
        page
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.line(&format!(".SH {}", title.to_uppercase()));
        self.fresh = true;
    }

    pub(crate) fn part(&mut self, title: &str) {
        self.line(&format!(".SS {}", escaped(title)));
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        if !self.fresh {
            self.line(".PP");
        }
        self.line(&escaped(text));
    }

    /// What something is, and what there is to say of it.
    pub(crate) fn item(&mut self, bold: &str, plain: &str, text: &str) {
        self.line(".TP");
        let plain = match plain {
            "" => String::new(),
            _ => format!(" {}", escaped(plain)),
        };
        self.line(&format!("\\fB{}\\fR{plain}", escaped(bold)));
        self.line(&escaped(text));
    }

    /// A line as it is typed or printed.
    pub(crate) fn example(&mut self, lines: &str) {
        self.line(".PP\n.EX");
        self.line(&escaped(lines));
        self.line(".EE");
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.fresh = false;
    }

    pub(crate) fn done(self) -> String {
        self.text
    }
}
