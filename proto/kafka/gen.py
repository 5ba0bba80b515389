#!/usr/bin/env python3
"""Turns the message schemas (*.kp) into kp.h (one struct per message, defaults, API keys) and kp.c (descriptor tables).

    gen.py -o OUTDIR SCHEMA.kp...

The tables are read by the interpreter in common/wire/codec.c; there is no generated code beyond the X_init functions.
proto/kafka/README.md describes the notation. Names made here are a contract with the rest of the tree:
  struct kp_<api>_request, kp_<api>_response, kp_<record>; a nested struct is named parent + '_' + field; members are the
  schema's words; an array F has a second member F_count; descriptors are X_desc, default setters X_init.
Anything unexpected in a schema ends the run with file and line. The output depends on the schemas only (not on paths or
time), so that builds are reproducible.
"""
import os
import re
import sys

FIXED = {'bool': 1, 'int8': 1, 'int16': 2, 'uint16': 2, 'int32': 4, 'uint32': 4, 'int64': 8, 'float64': 8, 'uuid': 16}
CTYPE = {'bool': 'bool', 'int8': 'int8_t', 'int16': 'int16_t', 'uint16': 'uint16_t', 'int32': 'int32_t', 'uint32': 'uint32_t',
         'int64': 'int64_t', 'float64': 'double', 'uuid': 'struct uuid', 'string': 'struct slice', 'bytes': 'struct slice',
         'records': 'struct wire_records'}
INT_BITS = {'int8': 8, 'int16': 16, 'int32': 32, 'int64': 64}
KEYWORDS = set('auto break case char const continue default do double else enum extern float for goto if inline int long '
               'register restrict return short signed sizeof static struct switch typedef union unsigned void volatile '
               'while bool true false'.split())
VERSION_MAX = 31


class SchemaError(Exception):
    pass


def mask(text):
    """'3', '0-7', '0-2,5' or 'none' -> bit mask of versions"""
    bits = 0
    for part in ([] if text == 'none' else text.split(',')):
        m = re.fullmatch(r'(\d+)(?:-(\d+))?', part)
        if not m:
            raise SchemaError('bad versions %r' % text)
        lo, hi = int(m[1]), int(m[2] or m[1])
        if hi < lo or hi > VERSION_MAX:
            raise SchemaError('bad versions %r' % text)
        for v in range(lo, hi + 1):
            bits |= 1 << v
    return bits


def versions_of(bits):
    return [v for v in range(VERSION_MAX + 1) if bits >> v & 1]


def snake(name):
    s = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    return re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', s).lower()


class Field:
    def __init__(self, words):
        self.fields = []
        self.tag = -1
        self.null = 0
        self.legacy = False
        self.default = None  # None = zero of the type, 'null', bool, int
        if len(words) < 3:
            raise SchemaError('a field needs NAME VERSIONS TYPE')
        self.name, self.versions, self.type = words[0], mask(words[1]), words[2]
        if not re.fullmatch(r'[a-z][a-z0-9_]*', self.name) or self.name in KEYWORDS:
            raise SchemaError('%r cannot be a C member' % self.name)
        self.array = self.type.startswith('[]')
        self.type = self.type[2:] if self.array else self.type
        if self.type not in CTYPE and self.type != 'struct':
            raise SchemaError('unknown type %r' % self.type)
        rest = words[3:]
        while rest:
            word = rest.pop(0)
            if word == 'legacy':
                self.legacy = True
                continue
            if word not in ('null', 'tag', 'default') or not rest:
                raise SchemaError('unexpected %r' % word)
            arg = rest.pop(0)
            if word == 'null':
                self.null = mask(arg)
            elif word == 'tag':
                self.tag = int(arg)
            else:
                self.default = self.parse_default(arg)
        self.check()

    def parse_default(self, word):
        if word == 'null':
            return 'null'
        if self.type == 'bool' and word in ('true', 'false'):
            return word == 'true'
        if self.array or self.type not in INT_BITS or not re.fullmatch(r'-?\d+', word):
            raise SchemaError('default %r does not fit type %s' % (word, self.type))
        v, bits = int(word), INT_BITS[self.type]
        if not -(1 << (bits - 1)) <= v < 1 << (bits - 1):
            raise SchemaError('default %r out of range' % word)
        return v

    def check(self):
        if self.null & ~self.versions:
            raise SchemaError('null versions outside of the versions')
        if self.null and not self.array and self.type not in ('string', 'bytes', 'records', 'struct'):
            raise SchemaError('type %s has no null' % self.type)
        if self.default == 'null' and not self.null:
            raise SchemaError('default null without null versions')
        if self.legacy and (self.array or self.type != 'string'):
            raise SchemaError('legacy is for strings')
        if self.type == 'records' and (self.array or self.tag >= 0):
            raise SchemaError('records may be neither array nor tagged')
        if self.pointer() and (self.null != self.versions or self.default != 'null'):
            raise SchemaError('a nullable struct must be so in all its versions, and null by default')

    def pointer(self):
        return self.type == 'struct' and not self.array and self.null != 0

    def min_bytes(self, v, flexible):
        if self.array:
            return 1 if flexible else 4
        if self.type in FIXED:
            return FIXED[self.type]
        if self.pointer():
            return 1
        if self.type == 'struct':
            return self.struct.min_bytes(v)
        if flexible and not self.legacy:
            return 1
        return 2 if self.type == 'string' else 4


class Struct:
    """A C struct: a message (request, response, record) or the element of a struct field."""

    def __init__(self, cname, fields, versions, flexible):
        self.cname, self.fields, self.versions, self.flexible = cname, fields, versions, flexible
        seen, tags = set(), {}
        for f in fields:
            for member in [f.name] + ([f.name + '_count'] if f.array else []):
                if member in seen:
                    raise SchemaError('%s: member %s twice' % (cname, member))
                seen.add(member)
            if f.versions & ~versions:
                raise SchemaError('%s.%s: versions outside of the parent' % (cname, f.name))
            if f.tag >= 0:
                if f.versions & ~flexible:
                    raise SchemaError('%s.%s: tag in a version that is not flexible' % (cname, f.name))
                if tags.get(f.tag, 0) & f.versions:
                    raise SchemaError('%s: tag %d twice' % (cname, f.tag))
                tags[f.tag] = tags.get(f.tag, 0) | f.versions
            if f.type == 'struct':
                if not f.fields:
                    raise SchemaError('%s.%s: a struct needs fields' % (cname, f.name))
                f.struct = Struct(cname + '_' + f.name, f.fields, f.versions, flexible & f.versions)
                if f.array and any(f.struct.min_bytes(v) == 0 for v in versions_of(f.versions)):
                    raise SchemaError('%s.%s: elements without bytes' % (cname, f.name))
            elif f.fields:
                raise SchemaError('%s.%s: fields below a %s' % (cname, f.name, f.type))

    def min_bytes(self, v):
        flexible = bool(self.flexible >> v & 1)
        return flexible + sum(f.min_bytes(v, flexible) for f in self.fields if f.tag < 0 and f.versions >> v & 1)

    def all(self):
        """children first, in schema order"""
        for f in self.fields:
            if f.type == 'struct':
                yield from f.struct.all()
        yield self


class Schema:
    """One .kp file."""

    def __init__(self, path):
        self.kind = self.name = self.key = None
        self.messages, self.about = {}, {}
        stack, line_no = None, 0
        try:
            with open(path, encoding='ascii') as f:
                for line_no, line in enumerate(f, 1):
                    line = line.rstrip('\n')
                    if '\t' in line:
                        raise SchemaError('tab')
                    words = line.split()
                    if not words or words[0].startswith('#') or line.startswith('note '):
                        continue
                    if not line.startswith(' '):
                        stack = self.headline(words)
                        continue
                    indent = len(line) - len(line.lstrip())
                    depth = indent // 2
                    if stack is None or indent % 2 or depth > len(stack):
                        raise SchemaError('bad indent')
                    field = Field(words)
                    del stack[depth:]
                    stack[-1].append(field)
                    stack.append(field.fields)
            want = {'api': ['request', 'response'], 'record': ['record']}.get(self.kind)
            if sorted(self.messages) != want:
                raise SchemaError('needs %s' % want)
            self.structs = {k: Struct('kp_' + snake(self.name) + ('' if k == 'record' else '_' + k), fields,
                                      self.about[k]['versions'], self.about[k]['flexible'])
                            for k, fields in self.messages.items()}
        except (SchemaError, ValueError) as e:
            sys.exit('%s:%d: %s' % (path, line_no, e))

    def headline(self, words):
        if words[0] in ('api', 'record') and (len(words) < 2 or words[1] != 'versions'):
            self.kind, self.name = words[0], words[1]
            if self.kind == 'api':
                self.key = int(words[words.index('key') + 1])
            return None
        if words[0] not in ('request', 'response', 'record') or words[1] != 'versions':
            raise SchemaError('unexpected %r' % words[0])
        about = {'headers': {}}
        if 'header' in words:
            at = words.index('header')
            for part in words[at + 1:]:
                number, _, bits = part.partition(':')
                about['headers'][int(number)] = mask(bits)
            words = words[:at]
        about['versions'], about['flexible'] = mask(words[2]), mask(words[words.index('flexible') + 1])
        about['spoken'] = mask(words[words.index('kafka-3.9') + 1])
        self.about[words[0]] = about
        self.messages[words[0]] = []
        return [self.messages[words[0]]]


def member_decl(f):
    ctype = 'struct ' + f.struct.cname if f.type == 'struct' else CTYPE[f.type]
    if f.array:
        return ['%s *%s;' % (ctype, f.name), 'int32_t %s_count;' % f.name]
    return ['%s %s%s;' % (ctype, '*' if f.pointer() else '', f.name)]


def int_text(v):
    if v == -(1 << 63):
        return 'INT64_MIN'
    return '%dLL' % v if abs(v) > 0x7fffffff else str(v)


def init_lines(s):
    out = []
    for f in s.fields:
        if f.array:
            if f.default == 'null':
                out.append('p->%s_count = -1;' % f.name)
        elif f.pointer() or f.default == 'null':
            continue
        elif f.type == 'struct':
            out.append('%s_init(&p->%s);' % (f.struct.cname, f.name))
        elif f.type in ('string', 'bytes'):
            out.append('p->%s = slice_make("", 0);' % f.name)
        elif f.type == 'records':
            out.append('p->%s.bytes = slice_make("", 0);' % f.name)
        elif f.default:
            out.append('p->%s = %s;' % (f.name, 'true' if f.default is True else int_text(f.default)))
    return out


def comment(f):
    """What a user of the member has to know: where it exists, where it may be null."""
    def text(bits):
        vs, parts = versions_of(bits), []
        while vs:
            n = 1
            while n < len(vs) and vs[n] == vs[0] + n:
                n += 1
            parts.append('%d-%d' % (vs[0], vs[n - 1]) if n > 1 else str(vs[0]))
            vs = vs[n:]
        return ','.join(parts)
    null, tag = ' null ' + text(f.null) if f.null else '', ' tag %d' % f.tag if f.tag >= 0 else ''
    return '/* v%s%s%s */' % (text(f.versions), null, tag)


def write_header(schemas, out):
    p = out.append
    p('/* kp.h: generated by proto/kafka/gen.py from the schemas; one struct per Kafka message and internal record.')
    p(' *')
    p(' * X_init gives every member the default of the protocol; X_desc is what common/wire/codec.h decodes and encodes with.')
    p(' * A decoded message borrows its strings, bytes and records from the input and its arrays from the arena.')
    p(' * Behind each member: the versions that have it, those in which it may be null, its tag. */')
    p('#pragma once\n')
    p('#include <stdbool.h>\n#include <stdint.h>\n#include <string.h>\n')
    p('#include "common/base/slice.h"\n#include "common/base/uuid.h"\n#include "common/wire/codec.h"\n')
    apis = sorted((s for s in schemas if s.kind == 'api'), key=lambda s: s.key)
    p('enum kp_api_key {')
    for s in apis:
        p('\tKP_API_%s = %d,' % (snake(s.name).upper(), s.key))
    p('};\n')
    for schema in schemas:
        for kind in sorted(schema.structs):
            for s in schema.structs[kind].all():
                p('struct %s {' % s.cname)
                for f in s.fields:
                    decls = member_decl(f)
                    p('\t%s %s' % (decls[0], comment(f)))
                    for d in decls[1:]:
                        p('\t' + d)
                if not s.fields:
                    p('\tuint8_t empty_; /* the message has no field */')
                p('};')
                p('extern const struct wire_struct %s_desc;' % s.cname)
                p('static inline void %s_init(struct %s *p)\n{\n\tmemset(p, 0, sizeof(*p));' % (s.cname, s.cname))
                for line in init_lines(s):
                    p('\t' + line)
                p('}\n')
    p('/* Every message and record, sorted by name; for tests. */')
    p('extern const struct wire_struct *const kp_messages[];')
    p('extern const size_t kp_message_count;')


def write_struct_table(s, p):
    if s.fields:
        p('static const struct wire_field %s_fields[] = {' % s.cname)
        for f in s.fields:
            flags = ([] if not f.array else ['WIRE_ARRAY']) + (['WIRE_POINTER'] if f.pointer() else []) + \
                (['WIRE_LEGACY'] if f.legacy else []) + (['WIRE_DEFAULT_NULL'] if f.default == 'null' else [])
            default = 0 if f.default in (None, 'null') else int(f.default)
            p('\t{"%s", %s, %s, 0x%xu, 0x%xu, offsetof(struct %s, %s), %s, WIRE_%s, %s, %d},' % (
                f.name, '&%s_desc' % f.struct.cname if f.type == 'struct' else 'NULL', int_text(default), f.versions, f.null,
                s.cname, f.name, 'offsetof(struct %s, %s_count)' % (s.cname, f.name) if f.array else '0', f.type.upper(),
                ' | '.join(flags) or '0', f.tag))
        p('};')
    top = versions_of(s.versions)[-1]
    p('static const uint16_t %s_min[] = {%s};' % (s.cname, ', '.join(
        str(s.min_bytes(v) if s.versions >> v & 1 else 0) for v in range(top + 1))))
    fields = s.cname + '_fields' if s.fields else 'NULL'
    p('const struct wire_struct %s_desc = {"%s", %s, %s_min, sizeof(struct %s), %d, 0x%xu, 0x%xu};\n' % (
        s.cname, s.cname, fields, s.cname, s.cname, len(s.fields), s.versions, s.flexible))


def write_source(schemas, out):
    p = out.append
    p('/* kp.c: generated by proto/kafka/gen.py from the schemas; descriptor tables, no code. */')
    p('#include "proto/kafka/kp.h"\n\n#include <stddef.h>\n\n#include "common/wire/api.h"\n')
    tops = []
    for schema in schemas:
        for kind in sorted(schema.structs):
            for s in schema.structs[kind].all():
                write_struct_table(s, p)
            tops.append(schema.structs[kind].cname)
    p('const struct wire_struct *const kp_messages[] = {')
    for name in sorted(tops):
        p('\t&%s_desc,' % name)
    p('};\nconst size_t kp_message_count = %d;\n' % len(tops))
    apis = sorted((s for s in schemas if s.kind == 'api'), key=lambda s: s.key)
    p('const struct wire_api kp_apis[] = {')
    slots = {}
    for i, s in enumerate(apis):
        rq, rs = s.about['request'], s.about['response']
        if rq['versions'] != rs['versions'] or rq['spoken'] != rs['spoken'] or s.key in slots:
            sys.exit('%s: request and response differ in versions, or key %d twice' % (s.name, s.key))
        spoken, flex = versions_of(rq['spoken']), versions_of(rq['flexible'])
        p('\t{%d, %d, %d, %d, "%s", 0x%xu, 0x%xu, 0x%xu, &kp_%s_request_desc, &kp_%s_response_desc},' % (
            s.key, spoken[0], spoken[-1], flex[0] if flex else -1, s.name, rq['headers'].get(0, 0), rq['headers'].get(2, 0),
            rs['headers'].get(1, 0), snake(s.name), snake(s.name)))
        slots[s.key] = i + 1
    top = apis[-1].key
    p('};\nconst size_t kp_api_count = %d;' % len(apis))
    p('const int16_t kp_api_key_max = %d;' % top)
    p('const uint8_t kp_api_slots[] = {%s};' % ', '.join(str(slots.get(k, 0)) for k in range(top + 1)))


def write_file(path, lines):
    with open(path + '.tmp', 'w', encoding='ascii', newline='\n') as f:
        f.write('\n'.join(lines) + '\n')
    os.replace(path + '.tmp', path)


def main():
    if len(sys.argv) < 4 or sys.argv[1] != '-o':
        sys.exit('usage: gen.py -o OUTDIR SCHEMA.kp...')
    schemas = [Schema(path) for path in sorted(sys.argv[3:], key=os.path.basename)]
    names = [s.cname for schema in schemas for m in schema.structs.values() for s in m.all()]
    for name in names:
        if names.count(name) > 1:
            sys.exit('struct %s twice' % name)
    for name, write in (('kp.c', write_source), ('kp.h', write_header)):
        lines = []
        write(schemas, lines)
        write_file(os.path.join(sys.argv[2], name), lines)


if __name__ == '__main__':
    main()
