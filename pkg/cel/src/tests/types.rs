//! Types of expressions, and errors of types in the texts and places of cel-go.

use super::errors;
use crate::kubernetes::{Admission, device, schema};
use crate::{Environment, Type};

fn admission() -> Environment {
    let mut environment = Admission { params: true, authorizer: true, variables: true, patches: true }.environment();
    environment.add_variable("count", &Type::Int);
    environment.add_variable("size", &Type::list(Type::object("kubernetes.Quantity")));
    environment
}

#[test]
fn expressions_have_types() {
    let environment = admission();
    for (text, want) in [
        // Literals and operators.
        ("1 + 2 * 3 - 1 / 2 == 6 % 1", "bool"),
        ("b'a' + B'b'", "bytes"),
        ("-1.5 < 1 && 1u >= 1", "bool"),
        ("false && !true || false ? 2 : 3", "int"),
        ("[3, 4, 5,]", "list(int)"),
        ("{1: 2u, 2: 3u}", "map(int, uint)"),
        ("[] + [1,2,3,] + [4]", "list(int)"),
        ("[[1], []]", "list(list(int))"),
        ("[]", "list(dyn)"),
        ("[1, dyn('a')]", "list(dyn)"),
        ("[?object.?a, ?optional.of(1)]", "list(dyn)"),
        ("{?'a': optional.of(1), 'b': 2}", "map(string, int)"),
        ("true ? object.a : 1", "dyn"),
        ("'a' in ['a'] && 'a' in {'a': 1}", "bool"),
        ("!!object.x", "dyn"),
        ("type(1) == int && type(object) == type('')", "bool"),
        ("timestamp('2024-01-01T00:00:00Z') + duration('1h')", "timestamp"),
        ("timestamp('2024-01-01T00:00:00Z').getFullYear()", "int"),
        ("google.protobuf.Timestamp{seconds: 20} == timestamp(20)", "bool"),
        // Loops and optional values.
        ("[1, 2].map(x, x > 1, string(x))", "list(string)"),
        ("[1].exists_one(x, x > 0) && [1].all(x, x > 0) && {'a': 1}.exists(k, k == 'a')", "bool"),
        ("[1, 2].exists(i, v, i < v) && {'a': 1}.all(k, v, k == 'a' && v == 1)", "bool"),
        ("[1, 2].transformList(i, v, i > 0, v * 2)", "list(int)"),
        ("{'a': 1}.transformMap(k, v, k + string(v))", "map(string, string)"),
        ("{'a': 1}.transformMapEntry(k, v, {v: k})", "map(int, string)"),
        ("object.a.filter(x, x.b == 1)", "list(dyn)"),
        ("object.?a.b", "optional_type(dyn)"),
        ("{'a': 1}[?'a'].orValue(2)", "int"),
        ("optional.of(1).optMap(x, string(x)).or(optional.none()).hasValue()", "bool"),
        ("optional.of([1]).optFlatMap(x, x[?0])", "optional_type(int)"),
        ("cel.bind(x, 1, x + 1)", "int"),
        ("object.a.sortBy(x, x.name)[0]", "dyn"),
        ("['b', 'a'].sortBy(x, x)", "list(string)"),
        // Libraries.
        ("'%d of %s: %s'.format([1, 'a', object.b])", "string"),
        ("'a,b'.split(',').join('-').lowerAscii().replace('a', 'b').substring(1)", "string"),
        ("[1, 2].sum() + [1].max() + [1].indexOf(1)", "int"),
        ("[3, 1].sort().reverse().distinct().slice(0, 1).first().value()", "int"),
        ("sets.contains([1], [2]) && sets.intersects(object.a, ['b'])", "bool"),
        ("'a'.find('[a-z]+') + 'b'.findAll('b', 1)[0]", "string"),
        ("url('https://a/b').getQuery()['c'][0]", "string"),
        ("cidr('10.0.0.0/8').containsIP(ip('10.1.2.3')) && ip('::1').isLoopback()", "bool"),
        ("quantity('1Gi').add(quantity('1')).compareTo(quantity(object.a))", "int"),
        ("semver('1.2.3').isGreaterThan(semver('v1', true)) && isSemver('1')", "bool"),
        ("!format.dns1123Label().validate(object.metadata.name).hasValue()", "bool"),
        ("format.named('uuid').value().validate('x').value().join()", "string"),
        // What admission tells.
        ("authorizer.group('apps').resource('deployments').namespace('a').check('get').allowed()", "bool"),
        ("authorizer.requestResource.check('update').reason()", "string"),
        ("authorizer.serviceAccount('a', 'b').path('/x').check('get').errored()", "bool"),
        ("request.userInfo.extra['a'][0] + request.requestKind.group", "string"),
        ("namespaceObject.metadata.labels.env == params.env", "bool"),
        ("namespaceObject.metadata.creationTimestamp", "timestamp"),
        ("request.options == null && namespaceObject != null && oldObject != null", "bool"),
        ("variables.count + 1", "int"),
        ("variables.size[0] == 1", "bool"),
        ("variables.size", "list(dyn)"),
        ("has(object.spec.a) && has(request.namespace)", "bool"),
        ("Object{spec: Object.spec{replicas: 3, ?a: object.?b}}", "Object"),
        ("[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: {'a': 1}}]", "list(JSONPatch)"),
        ("has(object.a) ? [] : [JSONPatch{op: 'remove', path: '/a'}]", "list(JSONPatch)"),
    ] {
        match environment.compile(text) {
            Ok(found) => assert_eq!(found.to_string(), want, "{text}"),
            Err(issues) => panic!("{text}: {issues}"),
        }
    }
}

#[test]
fn errors_of_types_are_told_as_upstream() {
    let cases: &[(&str, &[&str])] = &[
        ("1 + 'a'", &["1:3: found no matching overload for '_+_' applied to '(int, string)'"]),
        ("[] + 1", &["1:4: found no matching overload for '_+_' applied to '(list(dyn), int)'"]),
        ("1.size()", &["1:7: found no matching overload for 'size' applied to 'int.()'"]),
        ("'a'.contains(1)", &["1:13: found no matching overload for 'contains' applied to 'string.(int)'"]),
        ("{'a': 1}[1]", &["1:9: found no matching overload for '_[_]' applied to '(map(string, int), int)'"]),
        ("1 == null", &["1:3: found no matching overload for '_==_' applied to '(int, null)'"]),
        (
            "has(foo.a).string()",
            &[
                "1:5: undeclared reference to 'foo' (in container '')",
                "1:18: found no matching overload for 'string' applied to 'bool.()'",
            ],
        ),
        ("foo", &["1:1: undeclared reference to 'foo' (in container '')"]),
        (
            "a.b(c)",
            &[
                "1:1: undeclared reference to 'a' (in container '')",
                "1:4: undeclared reference to 'b' (in container '')",
                "1:5: undeclared reference to 'c' (in container '')",
            ],
        ),
        ("foo(1)", &["1:4: undeclared reference to 'foo' (in container '')"]),
        ("Foo{a: 1}", &["1:4: undeclared reference to 'Foo' (in container '')"]),
        ("object{a: 1}", &["1:7: 'dyn' is not a type", "1:9: unexpected failed resolution of 'object'"]),
        ("int{a: 1}", &["1:4: 'int' is not a message type", "1:6: unexpected failed resolution of 'int'"]),
        ("1 && true", &["1:1: expected type 'bool' but found 'int'"]),
        ("[1, 'a']", &["1:5: expected type 'int' but found 'string'"]),
        ("{'a': 1, 'b': 'c'}", &["1:15: expected type 'int' but found 'string'"]),
        ("[?1]", &["1:3: expected type 'optional_type(int)' but found 'int'"]),
        ("'a'.b", &["1:4: type 'string' does not support field selection"]),
        ("variables.other", &["1:10: undefined field 'other'"]),
        ("request.object", &["1:8: undefined field 'object'"]),
        ("quantity('1').value", &["1:14: unexpected failed resolution of 'kubernetes.Quantity'"]),
        ("JSONPatch{op: 1}", &["1:13: expected type of field 'op' is 'string' but provided type is 'int'"]),
        ("JSONPatch{a: 1}", &["1:12: undefined field 'a'"]),
        (
            "true.all(x, x)",
            &["1:1: expression of type 'bool' cannot be range of a comprehension (must be list, map, or dynamic)"],
        ),
        (
            "[[1]].filter(y, y.filter(z, z > 0))",
            &[
                "1:13: found no matching overload for '_?_:_' applied to '(list(int), list(list(int)), list(list(int)))'",
            ],
        ),
        ("'a'.matches('(?=b)')", &["1:13: invalid matches argument"]),
        ("duration('1d') < duration('1h')", &["1:10: invalid duration argument"]),
        ("timestamp('2024-02-30T00:00:00Z') == object.a", &["1:11: invalid timestamp argument"]),
    ];
    let environment = admission();
    for (text, want) in cases {
        assert_eq!(errors(&environment, text), *want, "{text}");
    }
}

#[test]
fn variables_are_there_where_upstream_has_them() {
    let base = Admission::default();
    for (text, with) in [
        ("params", Admission { params: true, ..base }),
        ("authorizer", Admission { authorizer: true, ..base }),
        ("authorizer.requestResource", Admission { authorizer: true, ..base }),
        ("variables", Admission { variables: true, ..base }),
        ("Object{}", Admission { patches: true, ..base }),
        ("jsonpatch.escapeKey('')", Admission { patches: true, ..base }),
    ] {
        assert_ne!(errors(&base.environment(), text), [""; 0], "{text}");
        assert_eq!(errors(&with.environment(), text), [""; 0], "{text}");
    }
    for fine in [
        "device.driver == 'a' && device.attributes['b'].c",
        "device.attributes['b'].c.matches('x') || device.attributes['b'].d.isLessThan(semver('1.0.0'))",
        "device.capacity['a'].memory.isGreaterThan(quantity('1Gi'))",
        "device.attributes['b'].c.includes('x')",
        "cel.bind(a, device.attributes['b'], a.c && a.d == 'x')",
        "device.attributes['b'].?c.orValue(false)",
        "'b' in device.attributes && 'c' in device.attributes['b']",
    ] {
        assert_eq!(errors(&device(), fine), [""; 0], "{fine}");
    }
    assert_eq!(errors(&device(), "device.name"), ["1:7: undefined field 'name'"]);
    assert_eq!(errors(&schema(), "self.a >= oldSelf.a && self.b.all(x, x.c)"), [""; 0]);
}

#[test]
fn results_are_of_the_type_that_is_wanted() {
    let environment = admission();
    let compile = |text, wanted: &[Type]| environment.compile_to(text, wanted);
    assert_eq!(compile("true", &[Type::Bool]), Ok(Type::Bool));
    assert_eq!(compile("1", &[]), Ok(Type::Int));
    for (text, wanted, why) in [
        ("1", &[Type::Bool][..], "must evaluate to bool but got int"),
        ("object.a", &[Type::Bool], "must evaluate to bool but got dyn"),
        ("[duration('1s')]", &[Type::String], "must evaluate to string but got list(google.protobuf.Duration)"),
        ("1", &[Type::String, Type::Null], "must evaluate to one of [string null_type] but got int"),
        (
            "x",
            &[Type::Bool],
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^",
        ),
    ] {
        assert_eq!(compile(text, wanted), Err(why.to_owned()));
    }
}
