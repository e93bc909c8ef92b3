//! Costs of all kinds of rules about data of all kinds without limits, which upstream keeps stable.

use serde_json::{Value, json};

use super::costs::{cost, limited, list, map, of};

fn fields(fields: Value) -> Value {
    json!({ "type": "object", "properties": fields })
}

/// Two fields of one kind, `a` and `b`.
fn two(of: &Value) -> Value {
    fields(json!({ "a": of, "b": of }))
}

fn check(schema: &Value, rows: &[(&str, u64)]) {
    for (rule, want) in rows {
        assert_eq!(cost(schema, rule), *want, "{rule} of {schema}");
    }
}

/// That fields are equal to each other, and to a literal.
fn equal(schema: &Value, literal: &str) -> u64 {
    cost(schema, &format!("self.a == self.b && self.a == {literal} && self.b == {literal}"))
}

#[test]
fn scalars_are_compared() {
    for (kind, literal, want) in [
        ("integer", "9223372036854775807", 8),
        ("number", "1.5", 8),
        ("boolean", "true", 8),
        ("string", "'Rook takes \u{1f451}'", 314_585),
        ("string", "'l1\\nl2'", 314_583),
        ("duration", "duration('1h2m3s4ms')", 16),
        ("date", "timestamp('1997-07-16T00:00:00.000Z')", 14),
        ("date-time", "timestamp('2011-08-18T19:03:37.010+01:00')", 16),
    ] {
        assert_eq!(equal(&two(&of(kind)), literal), want, "{kind}");
    }
    assert_eq!(equal(&two(&list(&of("integer"))), "[1, 2, 3]"), 157_317);
    check(
        &fields(json!({ "a": of("integer"), "b": of("number"), "c": of("byte"), "d": of("duration") })),
        &[
            ("type(self.a) == int", 4),
            ("self.a + 1 == 2147483647 + 1", 5),
            ("self.b == 1.0", 2),
            ("double(self.a) < self.b", 6),
            ("self.a < int(self.b)", 6),
            ("double(5) < 10.0", 2),
            ("double(self.a) < 10.0", 4),
            ("self.c == self.c", 314_577),
            ("self.c == b'AB'", 3),
            ("size(self.c) == 2", 4),
            ("self.d == duration('1h2m') + duration('3s4ms')", 6),
            ("self.d.getHours() == 1", 4),
            ("type(self.d) == google.protobuf.Duration", 4),
            ("int(self.b) == self.a", 5),
            ("double(self.a) == self.b", 5),
        ],
    );
}

#[test]
fn texts_are_scanned() {
    check(
        &two(&of("string")),
        &[
            ("self.a.startsWith('Rook')", 3),
            ("!self.a.startsWith('knight')", 4),
            ("self.a.matches('^[^0-9]*$')", 943_721),
            ("!self.a.matches('^[0-9]*$')", 629_149),
            ("size(self.a) == 12", 4),
            ("self.a.charAt(3) == 'k'", 4),
            ("self.a.indexOf('o') == 1", 314_576),
            ("self.a.indexOf('o', 2) == 2", 314_576),
            ("self.a.replace(' ', 'x') == 'Rookxtakesx\u{1f451}'", 629_150),
            ("self.a.replace(' ', 'x', 1) == 'Rookxtakes \u{1f451}'", 629_150),
            ("self.a.split(' ') == ['Rook', 'takes', '\u{1f451}']", 629_159),
            ("self.a.split(' ', 2) == ['Rook', 'takes \u{1f451}']", 629_159),
            ("self.a.substring(0, 4) == 'Rook'", 314_576),
            ("self.a.substring(4, 10).trim() == 'takes'", 629_149),
            ("self.a.upperAscii() == 'ROOK TAKES \u{1f451}'", 314_577),
            ("self.a.lowerAscii() == self.a.lowerAscii()", 943_723),
            ("isQuantity(self.a)", 314_575),
            ("quantity(self.a).isLessThan(quantity(self.b))", 629_151),
            ("quantity(self.a).isInteger()", 314_576),
        ],
    );
    check(
        &fields(json!({ "text": of("string"), "bytes": of("byte"), "n": of("integer"), "yes": of("boolean"),
            "wait": of("duration"), "since": of("date-time"), "day": of("date") })),
        &[
            ("bytes(self.text) == self.bytes", 629_150),
            ("string(self.bytes) == self.text", 629_150),
            ("string(self.n) == self.text", 314_578),
            ("string(self.yes) == '10.5'", 4),
            ("duration(self.text) == self.wait", 6),
            ("timestamp(self.text) == self.since", 6),
            ("string(self.since) == self.text", 314_578),
            ("timestamp(self.text) == self.day", 6),
        ],
    );
    let phases = json!({ "type": "string", "enum": ["Pending", "Available", "Bound", "Released", "Failed"] });
    check(
        &fields(json!({ "phase": phases })),
        &[("self.phase == 'Pending'", 3), ("self.phase in ['Pending', 'Available']", 14)],
    );
}

#[test]
fn lists_are_walked() {
    check(
        &two(&list(&of("integer"))),
        &[
            ("1 in self.a", 1_572_865),
            ("self.b[0] in self.a", 1_572_868),
            ("!(0 in self.a)", 1_572_866),
            ("self.a + self.b == [1, 2, 3, 1, 2, 3]", 16),
            ("self.a + [4, 5] == [1, 2, 3, 4, 5]", 24),
            ("has(self.a) && has(self.b)", 2),
            ("self.a.all(k, size(self.a) > 0)", 11_010_044),
            ("self.a.exists_one(k, self.a == [2])", 23_592_949),
            ("!self.a.exists_one(k, size(self.a) > 0)", 9_437_183),
            ("size(self.a.filter(k, size(self.a) > 1)) == 1", 26_738_686),
            ("self.a.all(e, e > 0)", 7_864_318),
            ("self.a.exists(e, e > 2)", 9_437_181),
            ("self.a.exists_one(e, e > 4)", 6_291_456),
            ("!self.a.exists_one(e, e == 2)", 4_718_594),
            ("size(self.a.filter(e, e%2 == 0)) == 3", 25_165_823),
            ("self.a.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)", 53_477_367),
            ("self.a.map(e, e * 20).filter(e, e > 50).exists_one(e, e == 60)", 50_331_642),
        ],
    );
    check(
        &two(&list(&of("string"))),
        &[
            ("self.a == ['c', 'b', 'a']", 13),
            ("self.a == self.b", 104_862),
            ("self.b[0] in self.a", 1_048_580),
            ("self.a.all(k, size(self.a) > 0)", 7_340_028),
            ("self.a.exists_one(k, self.a == ['a'])", 15_728_629),
        ],
    );
    let item = fields(json!({ "k": of("string"), "v": of("string") }));
    check(
        &fields(json!({ "objs": list(&list(&item)) })),
        &[
            ("self.objs[0] == self.objs[1]", 104_864),
            ("self.objs[0] + self.objs[2] == self.objs[2]", 104_868),
            ("self.objs[0] == [self.objs[0][0], self.objs[0][1]]", 22),
            ("self.objs[2] + [self.objs[0][0], self.objs[0][1]] == self.objs[0]", 104_883),
            ("size(self.objs[0] + [self.objs[3][0]]) == 3", 20),
            ("self.objs[0].all(k, size(self.objs[0]) > 0)", 8_388_604),
            ("size(self.objs[0].filter(k, size(self.objs[0]) > 1)) == 1", 18_874_366),
        ],
    );
}

#[test]
fn lists_of_objects_are_walked() {
    check(
        &fields(json!({ "list": list(&fields(json!({ "k": of("string"), "v": of("string"), "v2": of("string") }))) })),
        &[
            ("has(self.list[0].v)", 3),
            ("self.list.all(m, m.k.startsWith('a'))", 6_291_453),
            ("self.list.all(m, !has(m.v2) || m.v2 == 'z')", 8_388_603),
            ("self.list.exists(m, m.k.endsWith('1'))", 7_340_028),
            ("self.list.exists_one(m, m.k == 'a3')", 5_242_879),
            ("!self.list.exists_one(m, m.k.startsWith('a'))", 5_242_880),
            ("size(self.list.filter(m, m.k == 'a1')) == 1", 16_777_215),
            ("self.list.exists(m, m.k == 'a1' && m.v == 'b1')", 10_485_753),
            ("self.list.map(m, m.v).exists(v, v == 'b1')", 19_922_939),
            ("self.list.exists_one(m, has(m.v2) && m.v2 == 'z')", 6_291_454),
            ("self.list.filter(m, has(m.v2) && m.v2 == 'z').size() == 1", 17_825_790),
            ("self.list.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1", 18_874_365),
            ("self.list.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1", 32_505_851),
        ],
    );
}

#[test]
fn maps_and_objects_are_walked() {
    check(
        &two(&map(&of("string"))),
        &[
            ("self.a == self.b", 39_326),
            ("'k1' in self.a", 3),
            ("self.a == {'k1': 'a', 'k2': 'b'}", 33),
            ("self.a.all(k, size(self.a) > 0)", 2_752_508),
            ("size(self.a.filter(k, size(self.a) > 1)) == 1", 6_684_670),
            ("type(self.a['a']) == null_type", 5),
        ],
    );
    check(
        &fields(json!({ "val": map(&of("integer")) })),
        &[
            ("!has(self.val.a)", 3),
            ("self.val.all(k, self.val[k] > 0)", 3_595_115),
            ("self.val.exists_one(k, self.val[k] == 2)", 2_696_338),
            ("!self.val.exists_one(k, self.val[k] > 0)", 3_145_728),
            ("size(self.val.filter(k, self.val[k] > 1)) == 1", 8_089_017),
        ],
    );
    let nested = fields(json!({ "c1": of("integer") }));
    check(
        &fields(json!({ "a": fields(json!({ "b1": nested, "d2": nested })), "objs": list(&nested) })),
        &[
            ("has(self.a.b1)", 2),
            ("has(self.a.b1.c1)", 3),
            ("!(has(self.a.d2) && has(self.a.d2.c1))", 6),
            ("self.objs[0] == self.objs[1]", 6),
            ("type(self) == type(self)", 1_844_674_407_370_955_268),
        ],
    );
    let embedded = json!({ "type": "object", "x-kubernetes-embedded-resource": true });
    check(
        &fields(json!({ "embedded": embedded })),
        &[
            ("self.embedded.kind == 'Pod'", 4),
            ("self.embedded.metadata.name == 'foo'", 5),
            ("self.embedded.metadata.generateName == 'pickItForMe'", 6),
        ],
    );
}

#[test]
fn numbers_or_texts_are_both() {
    check(
        &fields(json!({ "min": of("int-or-string"), "current": of("integer"), "available": of("integer") })),
        &[
            ("type(self.min) == int ? self.min == 1 : self.min == '25%'", 7),
            ("type(self.min) == string && self.min == '25%'", 7),
            ("self.min != 1", 3),
            ("self.min == 1 || self.min == '25%'", 6),
            ("self.min != ['anything']", 13),
            (r"type(self.min) == string && self.min.matches(r'(\d+(\.\d+)?%)')", 1_258_298),
            (
                "type(self.min) == int ? self.current <= self.min : double(self.current) / double(self.available) >= \
                 double(self.min.replace('%', '')) / 100.0",
                629_162,
            ),
        ],
    );
}

#[test]
fn what_is_in_each_other_is_walked() {
    let (ten_texts, ten_values) = (limited(list(&of("string")), 10), limited(map(&of("string")), 10));
    let ten_items = limited(list(&fields(json!({ "k": of("string"), "v": of("string") }))), 10);
    check(
        &fields(json!({
            "mapOfMap": limited(map(&ten_values), 10), "mapOfListMap": limited(map(&ten_items), 10),
            "mapOfList": limited(map(&ten_texts), 10), "listMapOfObj": ten_items,
            "listOfMap": limited(list(&ten_values), 10), "listOfListMap": limited(list(&ten_items), 10),
        })),
        &[
            ("self.mapOfMap['x']['y'] == 'b'", 5),
            ("self.mapOfListMap['o'].exists(e, e.k == '1' && e.v == 'd')", 104),
            ("self.mapOfList['l'][0] == 'e'", 5),
            ("self.listMapOfObj.exists(e, e.k == '2' && e.v == 'f')", 103),
            ("self.listOfMap[0]['z'] == 'g'", 5),
            ("self.listOfListMap[0].exists(e, e.k == '3' && e.v == 'i')", 104),
            ("self.mapOfMap.map(k, k).map(k, k).size() == 1", 286),
            ("self.mapOfListMap.map(k, k).map(k, k).size() == 1", 286),
            ("self.listOfMap.map(e, e).map(e, e).size() == 1", 286),
            ("self.mapOfMap.map(k, self.mapOfMap[k].map(m, m)).size() == 1", 1585),
            ("self.mapOfList.map(k, self.mapOfList[k].map(l, l)).size() == 1", 1585),
            ("self.listOfMap.map(e, e.map(m, m)).size() == 1", 1555),
            ("self.listOfListMap.map(e, e.map(e, e)).size() == 1", 1555),
        ],
    );
}

#[test]
fn optional_values_are_looked_into() {
    let obj = fields(json!({ "field": of("string") }));
    check(
        &fields(json!({ "obj": obj, "m": map(&of("string")), "l": list(&of("string")) })),
        &[
            ("optional.of('a') != optional.of('b')", 1_844_674_407_370_955_266),
            ("optional.of('a').hasValue()", 2),
            ("optional.of('a').or(optional.of('a')).hasValue()", 4),
            ("optional.none().or(optional.of('a')).hasValue()", 4),
            ("optional.of('a').optMap(v, v == 'value').hasValue()", 18),
            ("self.obj.?field == optional.of('a')", 1_844_674_407_370_955_268),
            ("self.obj.?field.orValue('v') == 'a'", 5),
            ("self.m[?'k'] == optional.of('v')", 1_844_674_407_370_955_268),
            ("self.l[?0] == optional.of('a')", 1_844_674_407_370_955_268),
            ("optional.ofNonZeroValue(1).hasValue()", 2),
        ],
    );
}
