use crate::proto::backend::golden;

#[test]
fn fixtures_come_out_as_blessed() {
    golden::check_all("openfire");
}

#[test]
fn damaged_fixtures_keep_the_conservation_law() {
    golden::check_mutations("openfire", 60);
}
