//! Bytes → facts about a host, as `stdbox plan --with-facts` reads them: what is written of them is read as the same.

use stdbox::host::HostFacts;
use stdbox::problem::Code;

pub fn run(data: &[u8]) {
    match HostFacts::from_bytes(data) {
        Ok(facts) => {
            let written = facts.to_bytes();
            let again = HostFacts::from_bytes(&written);
            assert_eq!(again.as_ref(), Ok(&facts));
            assert_eq!(written, facts.to_bytes());
        }
        Err(problem) => {
            let whole = matches!(problem.code, Code::Syntax | Code::TooLarge);
            assert_eq!(problem.at.is_none(), whole, "{problem:?}");
            assert_ne!(problem.code, Code::Internal);
        }
    }
}
