{{- define "guestbook.env" -}}
- name: REDIS_HOST
  value: {{ .Release.Name }}-redis
- name: GREETING
  value: {{ .Values.greeting | quote }}
{{- end }}
