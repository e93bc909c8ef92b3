//! Selectors of devices are CEL expressions that compile and do not cost too much.

use serde_json::json;

use super::{GROUP, claim};
use crate::testing::{change, create_errors, row, update_errors};

#[test]
fn selectors_compile() {
    let class = json!({ "metadata": { "name": "c" }, "spec": { "selectors": [{ "cel": { "expression": "true" } }] } });
    let template = json!({ "metadata": { "name": "t" }, "spec": { "spec": claim()["spec"] } });
    let mut alternatives = claim();
    let selectors = "spec.devices.requests[1].firstAvailable[0].selectors";
    change(&mut alternatives, &format!("{selectors} = [{{\"cel\":{{\"expression\":\"true\"}}}}]"));
    for (plural, base, at) in [
        ("deviceclasses", &class, "spec.selectors[0]".to_owned()),
        ("resourceclaims", &claim(), "spec.devices.requests[0].exactly.selectors[0]".to_owned()),
        ("resourceclaims", &alternatives, format!("{selectors}[0]")),
        ("resourceclaimtemplates", &template, "spec.spec.devices.requests[0].exactly.selectors[0]".to_owned()),
    ] {
        let path = format!("{at}.cel.expression");
        for (expression, why) in [
            ("device.driver == 'gpu.example' && device.attributes['gpu.example'].model == 'a100'", ""),
            ("device.capacity['gpu.example'].memory.compareTo(quantity('40Gi')) >= 0", ""),
            ("cel.bind(gpu, device.attributes['gpu.example'], gpu.family)", ""),
            ("device.driver", "must evaluate to bool or the unknown type, not string"),
            ("device.name == 'a'", "compilation failed: ERROR: <input>:1:7: undefined field 'name'"),
            (
                "object == null",
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'object' (in container '')",
            ),
        ] {
            let mut object = base.clone();
            change(&mut object, &format!("{path} = {}", json!(expression)));
            let got = create_errors(row(GROUP, plural), object);
            let want = (!why.is_empty()).then(|| format!("{path}: Invalid value: {}: {why}", json!(expression)));
            let first_lines: Vec<&str> = got.iter().filter_map(|error| error.lines().next()).collect();
            assert_eq!(first_lines, want.iter().map(String::as_str).collect::<Vec<_>>(), "{plural}");
        }
    }
}

#[test]
fn selectors_have_a_limit_of_cost() {
    let ten = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
    let loops = |count: usize| {
        let nested: String = (0..count).map(|i| format!("{ten}.all(x{i}, ")).collect();
        format!("{nested}int('1'.find('[0-9]*')) < 100{}", ")".repeat(count))
    };
    let path = "spec.devices.requests[0].exactly.selectors[0].cel.expression";
    let refused = format!("{path}: Forbidden: too complex, exceeds cost limit");
    let attributes = "device.attributes.all(d, device.attributes[d].all(";
    for (expression, accepted) in [
        (loops(5), true),
        (loops(6), false),
        (loops(7), false),
        (format!("{attributes}a, device.attributes[d][a] == 'a'))"), true),
        (format!("{attributes}a, {attributes}b, a == b))))"), false),
        ("lists.range(1000000).size() > 1".to_owned(), false),
        ("lists.range(999980).size() > 1".to_owned(), true),
        ("['a', 'b'].join('-') == device.driver".to_owned(), false),
        ("device.driver.matches('a'.replace('', device.driver))".to_owned(), true),
    ] {
        let mut claim = claim();
        change(&mut claim, &format!("{path} = {}", json!(expression)));
        let want: &[&str] = if accepted { &[] } else { &[&refused] };
        assert_eq!(create_errors(row(GROUP, "resourceclaims"), claim), *want, "{expression}");
    }
}

#[test]
fn selectors_that_a_class_had_already_stay() {
    let class = json!({ "metadata": { "name": "c" }, "spec": { "selectors": [{ "cel": { "expression": "foo" } }] } });
    let update = |changes: &str| update_errors(row(GROUP, "deviceclasses"), class.clone(), |new| change(new, changes));
    assert_eq!(update("spec.extendedResourceName = example.com/gpu"), [""; 0]);
    assert_eq!(update("spec.selectors[0].cel.expression = foo2").len(), 1);
}
