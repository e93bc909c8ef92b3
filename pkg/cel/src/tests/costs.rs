//! Estimated costs: the figures of cel-go's and of Kubernetes' own tests.

use std::sync::Arc;

use crate::cost::Shapes;
use crate::kubernetes::{Admission, device, schema};
use crate::{Environment, Range, Shape, Type};

fn cost(environment: &Environment, text: &str) -> (u64, u64) {
    let Range { min, max } = environment.estimate(text).unwrap_or_else(|why| panic!("{text}: {why}")).cost;
    (min, max)
}

fn check(environment: &Environment, rows: &[(&str, u64, u64)]) {
    for (text, min, max) in rows {
        assert_eq!(cost(environment, text), (*min, *max), "{text}");
    }
}

#[test]
fn expressions_without_data() {
    check(
        &schema(),
        &[
            ("'Hello World!'", 0, 0),
            ("[1, 2, 3]", 10, 10),
            ("{'a': 1, 'b': 2, 'c': 3}", 30, 30),
            ("google.protobuf.Timestamp{seconds: 20}", 40, 40),
            ("[1, 2, 3].all(x, true)", 20, 20),
            ("'123'.matches('[0-9]')", 2, 2),
            ("true || false", 0, 0),
            ("true && false", 0, 0),
            ("1 < 2", 1, 1),
            ("1 == 2", 1, 1),
            ("2 in [1, 2, 3]", 13, 13),
            ("1 + 1", 1, 1),
            ("1 % 1", 1, 1),
            ("true ? 1 : 2", 0, 0),
            ("size('123')", 1, 1),
            ("string(1)", 1, 1),
            ("double(5) < 10.0", 2, 2),
            ("[1, 2, 3, 4, 5].filter(x, x % 2 == 0)", 41, 101),
            ("[1, 2, 3, 4, 5].map(x, x)", 86, 86),
            ("[1, 2, 3, 4, 5].map(x, x).filter(x, x % 2 == 0)", 117, 177),
            ("[1, 2, 3, 4, 5].map(x, x).exists(x, x % 2 == 0) == true", 108, 123),
            ("strings.quote('ABCDEFGHIJ abcdefghij')", 3, 3),
            ("strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')", 7, 11),
        ],
    );
}

#[test]
fn what_is_stored_is_estimated_by_its_largest_size() {
    let lists = |most| Shape::list(Shape::simple(0), most);
    let nested = |outer, inner| Shape::list(lists(inner), outer);
    let maps =
        |key, value, most| Shape::map(Shape::simple(key), Shape::map(Shape::simple(0), Shape::simple(0), value), most);
    let rows: Vec<(&str, &str, Shape, u64, u64)> = vec![
        ("list(int)", "input", lists(0), 1, 1),
        ("map(string, string)", "input['key']", maps(0, 0, 0), 2, 2),
        ("list(list(int))", "input.all(x, true)", lists(100), 2, 302),
        ("list(list(int))", "input.all(x, x.all(y, true))", nested(50, 10), 2, 1752),
        ("string", "input.matches('[0-9]')", Shape::simple(500), 3, 103),
        ("string", "matches(input, '[0-9]')", Shape::simple(500), 2, 2),
        ("bytes", "string(input)", Shape::simple(500), 1, 51),
        ("string", "bytes(input)", Shape::simple(500), 1, 51),
        ("string", "input.contains(input)", Shape::simple(500), 2, 2502),
        ("string", "'a'.startsWith(input)", Shape::simple(500), 1, 51),
        ("string", "input.size()", Shape::simple(500), 2, 2),
        ("map(string, Namespace)", "input.all(k, input[k].metadata.generation > 3)", maps(0, 0, 10), 2, 92),
        ("map(string, map(string, int))", "input.all(k, input[k].all(x, true))", maps(0, 10, 5), 2, 187),
        ("map(string, map(string, int))", "input.all(k, k.contains(k))", maps(10, 0, 5), 2, 32),
        ("map(string, map(string, int))", "input.all(k, input[k].all(k, true) && k.contains(k))", maps(5, 2, 2), 2, 34),
        ("list(int)", "(input + input).all(x, true)", lists(10), 4, 64),
        ("list(int)", "(input.size() > 2 ? input : input).all(y, true)", lists(1), 5, 8),
        ("string", "'abcdefg'.contains(input + input)", Shape::simple(10), 2, 6),
    ];
    for (of, text, shape, min, max) in rows {
        let named = Shapes::Named(vec![("input", Arc::new(shape))]);
        let admission = Admission::default().environment().with("input", of).with_data(named);
        assert_eq!(cost(&admission, text), (min, max), "{text}");
    }
}

#[test]
fn loops_of_two_variables() {
    check(
        &schema(),
        &[
            ("{'a': 1, 'b': 2}.all(k, v, v > 0)", 37, 41),
            ("{'a': 1, 'b': 2}.exists(k, v, v > 0)", 39, 43),
            ("{'a': 1, 'b': 2}.existsOne(k, v, v > 0)", 38, 40),
            ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", 71, 71),
            ("{'a': 1, 'b': 2}.transformMap(k, v, v < 5, v + 1)", 67, 75),
            ("{'a': 1, 'b': 2}.transformMapEntry(k, v, {k: v + 1})", 131, 131),
            ("{'a': 1, 'b': 2}.transformMapEntry(k, v, v < 5, {k: v + 1})", 67, 135),
            ("[1, 2].all(i, v, v > 0)", 17, 21),
            ("[1, 2].exists(i, v, v > 0)", 19, 23),
            ("[1, 2].existsOne(i, v, v > 0)", 18, 20),
            ("[1, 2].transformList(i, v, v + 1)", 49, 49),
            ("[1, 2].transformList(i, v, v < 5, v + 1)", 27, 53),
        ],
    );
}

#[test]
fn optional_values() {
    let mut environment = schema();
    environment.set("self", Type::object("Foo"));
    let of = environment.add_object("Foo", [("l".to_owned(), Type::list(Type::String))].into());
    environment.set("self", of);
    for (text, max) in [
        ("optional.of('a').optMap(v, v == 'value').hasValue()", 18),
        ("optional.of('abcdefgabcdefg').optMap(v, v.size()).hasValue()", 18),
        ("optional.of([1, 2, 3, 4, 5]).optMap(v, v.size()).hasValue()", 38),
        ("self.l[?0].optMap(v, v == 'a').hasValue()", 22),
    ] {
        assert_eq!(cost(&environment, text).1, max, "{text}");
    }
}

#[test]
fn sets_and_lists() {
    check(
        &schema(),
        &[
            ("sets.contains([], [])", 21, 21),
            ("sets.contains([1, 2, 3, 4], [2, 3])", 29, 29),
            ("sets.contains([[1], [2, 3]], [[2, 3]])", 53, 53),
            ("!sets.contains([1], [1, 2])", 24, 24),
            ("sets.equivalent([1, 2, 3], [3, 2, 1])", 39, 39),
            ("sets.intersects([[1], [2, 3]], [[1, 2], [2, 3]])", 65, 65),
            ("!sets.intersects([], [])", 22, 22),
            // A list of n, a call, and a new list.
            ("[1, 2, 3].reverse()", 24, 24),
            ("[1, 2, 3].slice(0, 2)", 23, 23),
            ("lists.range(7)", 18, 18),
            ("[[1], [2]].flatten()", 43, 43),
            ("[3, 1].distinct()", 29, 29),
            ("[3, 1].sort()", 29, 29),
            ("['b', 'a'].sort()", 30, 30),
            ("lists.range(self)", u64::MAX, u64::MAX),
            ("[1, 2].slice(2, 1) == []", u64::MAX, u64::MAX),
        ],
    );
}

#[test]
fn addresses_texts_and_numbers() {
    check(
        &schema(),
        &[
            ("ip('192.168.0.1')", 2, 2),
            ("ip('2001:db8:3333:4444:5555:6666:7777:8888')", 4, 4),
            ("ip('192.168.0.1').family()", 3, 3),
            ("ip('192.168.0.1') == ip('192.168.0.1')", 5, 5),
            ("ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')", 8, 8),
            ("cidr('2001:db8::/32').masked()", 3, 3),
            ("cidr('192.168.0.0/16').ip()", 3, 3),
            ("cidr('192.168.0.0/16') == cidr('2001:db8::/32')", 5, 5),
            ("cidr('192.168.0.0/16').containsIP(ip('192.0.0.1'))", 4, 7),
            ("cidr('192.168.0.0/16').containsIP('192.0.0.1')", 4, 7),
            ("cidr('192.168.0.0/16').containsIP('192.169.0.1')", 5, 8),
            ("cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))", 7, 11),
            ("cidr('192.168.0.0/16').containsCIDR('192.0.0.0/30')", 7, 11),
            ("isQuantity('20M')", 1, 1),
            ("quantity('200M') == quantity('0.2G') && quantity('0.2G') == quantity('200M')", 3, 6),
            ("quantity('50k').add(20).sub(quantity('100k')).sub(-50000).asInteger() > 0", 7, 7),
            ("quantity('50.703k').asApproximateFloat() > 0.0", 3, 3),
            ("semver('1234.56789012345.67890123456789')", 4, 4),
            ("isSemver('1234.56789012345.67890123456789')", 4, 4),
            ("semver('1.0.0').compareTo(semver('1.2.3'))", 3, 3),
            ("url('https:://kubernetes.io/').getHost()", 4, 4),
            ("url('https:://kubernetes.io/') == url('https:://kubernetes.io/')", 7, 9),
            ("url('https:://kubernetes.io/') == url('http://x.b')", 5, 5),
            ("format.named('dns1123Label').value().validate('my-name')", 34, 34),
            ("format.named('dns1123Label').value() == format.named('dns1123Label').value()", 5, 11),
            ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", 3, 3),
            ("'abc 123 def 123'.replace('123', '456')", 3, 3),
            ("'abc 123 def 123'.split(' ', 1)", 3, 3),
            ("'abc 123 def 123'.substring(5)", 2, 2),
            ("'  abc 123 def 123  '.trim()", 2, 2),
            ("'abc 123 def 123'.find('123')", 2, 2),
            ("'%d of %s'.format([1, 'a'])", 11, 11),
            ("[1, 2, 3, 4, 5].sum()", 15, 15),
            ("[uint(1), uint(2), uint(3), uint(4), uint(5)].isSorted()", 20, 20),
            ("[duration('1s'), duration('2s')].max()", 14, 14),
            ("[false, true, false, true, false].lastIndexOf(true)", 15, 15),
            ("'01234567890123456789012345678901234567890123456789'.indexOf('123')", 5, 5),
        ],
    );
}

/// A text in which something is replaced is as long as can be, which shows in the cost of comparing it.
#[test]
fn replaced_texts_have_sizes() {
    check(
        &schema(),
        &[
            ("'abc'.replace('', '_') + ''", 2, 2),
            ("('a'.replace('', '0123456789')) + ''", 4, 4),
            ("('0123456789'.replace('01', '0123')) + ''", 3, 4),
        ],
    );
}

#[test]
fn questions_to_the_authorizer() {
    let environment = Admission { authorizer: true, ..Admission::default() }.environment();
    check(
        &environment,
        &[
            ("authorizer.path('/healthz').check('get').allowed()", 350_003, 350_003),
            ("authorizer.group('apps').resource('deployments').namespace('test').name('backend')", 5, 5),
            ("authorizer.requestResource.check('get').allowed()", 350_002, 350_002),
            (
                "authorizer.group('').resource('pods')\
                 .fieldSelector('spec.nodeName=example-node-name.fully.qualified.domain.name.example.com')",
                1821,
                1821,
            ),
        ],
    );
}

const TEN: &str = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";

#[test]
fn selectors_of_devices() {
    let attribute = "device.attributes['dra.example.com']";
    let capacity = "device.capacity['dra.example.com']";
    let loops: String = ["x", "y", "z", "z2", "z3", "z4", "z5"].map(|name| format!("{TEN}.all({name}, ")).concat();
    let all = format!(
        "{capacity}.quantity.isGreaterThan(quantity('1Ki')) && {attribute}.bool && {attribute}.int > 0 && \
         {attribute}.string == 'fish' && {attribute}.version.isGreaterThan(semver('0.0.1')) && \
         {capacity}['quantity'].isGreaterThan(quantity('1Ki')) && {attribute}['bool'] && {attribute}['int'] > 0 && \
         {attribute}['string'] == 'fish' && {attribute}['version'].isGreaterThan(semver('0.0.1'))"
    );
    for (text, max) in [
        ("true".to_owned(), 0),
        (format!("{attribute}.a.isGreaterThan(quantity('0'))"), 6),
        (format!("{attribute}['a'].isGreaterThan(quantity('0'))"), 6),
        ("'dra.example.com' in device.attributes".to_owned(), 3),
        ("device.driver == ''".to_owned(), 2),
        ("device.driver == 'dra.example.com'".to_owned(), 4),
        (format!("{attribute}.name"), 4),
        (format!("{attribute}['name']"), 4),
        (format!("cel.bind(dra, {attribute}, dra.name)"), 15),
        (format!("{attribute}.name > 0"), 5),
        (format!("{attribute}.name == 'fish'"), 5),
        (format!("{attribute}.name.exists(x, x > 0)"), 5 + 6 * 64),
        (format!("{attribute}.name.exists(x, x == 'fish')"), 5 + 6 * 64),
        (format!("{attribute}.name.includes('fish')"), 52),
        (format!("{attribute}.name.includes(semver('1.0.0'))"), 53),
        (format!("{attribute}.name.isGreaterThan(semver('v0.0.1', true)) && isSemver('v1.0.0', true)"), 7),
        (format!("{capacity}.name.isGreaterThan(quantity('1Ki'))"), 6),
        (format!("'name' in {capacity} && {capacity}.name.isGreaterThan(quantity('1Ki'))"), 10),
        (format!("!('name' in {capacity}) || {capacity}.name.isGreaterThan(quantity('1Ki'))"), 11),
        (all, 52),
        (format!("{attribute}.a && {attribute}.b && {attribute}.c"), 12),
        ("device.attributes.exists_one(x, x == 'dra.example.com')".to_owned(), 164),
        (format!("{attribute}.exists_one(x, x == 'services')"), 133),
        (format!("{attribute}.services.split('example').size() >= 2"), 19),
        (format!("{attribute}.services.matches('[^a]?sym')"), 18),
        ("device.capacity.exists_one(x, x == 'dra.example.com')".to_owned(), 164),
        (format!("{capacity}.exists_one(x, x == 'memory')"), 133),
        ("device.allowMultipleAllocations == true".to_owned(), 3),
        (format!("{loops}int('1'.find('[0-9]*')) < 100{}", ")".repeat(7)), 85_555_551),
    ] {
        assert_eq!(cost(&device(), &text).1, max, "{text}");
    }
}

#[test]
fn no_cost_overflows() {
    let environment = schema();
    let nested = "x.map(y, ".repeat(40);
    for text in [
        format!("self.map(x, {nested}x{}", ")".repeat(41)),
        "self".to_owned() + &".map(x, self)".repeat(100),
        "(self + self).contains(self + self + '')".to_owned(),
        "self.replace('', self)".to_owned() + &".replace('', 'aaaaaaaaaa')".repeat(100),
    ] {
        assert_eq!(cost(&environment, &text).1, u64::MAX, "{text}");
    }
}
