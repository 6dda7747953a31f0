{{/*
Strategic merge of .from into .into, in place, as far as components need it: maps by key, null deletes; lists of objects by their mountPath
or name, `$patch: delete` deletes one; any other list is replaced.
*/}}
{{- define "lastlight.merge" -}}
{{- $into := .into -}}
{{- range $key, $value := .from -}}
  {{- $old := get $into $key -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $key -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
    {{- include "lastlight.merge" (dict "into" $old "from" $value) -}}
  {{- else if and (kindIs "slice" $value) (kindIs "slice" $old) (include "lastlight.mergeKey" $value) -}}
    {{- $by := include "lastlight.mergeKey" $value -}}
    {{- $list := $old -}}
    {{- range $item := $value -}}
      {{- $kept := list -}}
      {{- $found := false -}}
      {{- range $each := $list -}}
        {{- if ne (get $each $by) (get $item $by) -}}
          {{- $kept = append $kept $each -}}
        {{- else -}}
          {{- $found = true -}}
          {{- if ne (get $item "$patch" | toString) "delete" -}}
            {{- include "lastlight.merge" (dict "into" $each "from" $item) -}}
            {{- $kept = append $kept $each -}}
          {{- end -}}
        {{- end -}}
      {{- end -}}
      {{- if not $found -}}{{- $kept = append $kept $item -}}{{- end -}}
      {{- $list = $kept -}}
    {{- end -}}
    {{- $_ := set $into $key $list -}}
  {{- else -}}
    {{- $_ := set $into $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "lastlight.mergeKey" -}}
{{- $first := first . -}}
{{- if kindIs "map" $first -}}
  {{- if hasKey $first "mountPath" -}}mountPath{{- else if hasKey $first "name" -}}name{{- end -}}
{{- end -}}
{{- end -}}
